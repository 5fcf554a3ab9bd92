"""Commands that start a project: settings, sample data and the demo."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defect_detection.cli.app import Product, app, short
from defect_detection.text import printable

if TYPE_CHECKING:
    from defect_detection.use_cases.demo import Demo


@app.command(rich_help_panel="Start")
def init(folder: Annotated[Path, typer.Argument(help="Project folder.")] = Path()) -> None:
    """Create a project: a config.yaml that explains each setting, and its folders."""
    from defect_detection.use_cases.project import start_project

    for path in start_project(folder):
        typer.echo(f"Wrote {short(path.absolute())}")
    typer.echo(
        f"Put your images into {short((folder / 'data/train').absolute())} and {short((folder / 'data/test').absolute())}, "
        "one folder per class (ok, and one for each defect type), or draw sample images with: defect sample-data. Next: "
        "defect train"
    )


@app.command("sample-data", rich_help_panel="Start")
def sample_data(
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Output folder (default: data of the product). It must be empty or hold earlier sample data."
        ),
    ] = None,
    product: Product = None,
    seed: Annotated[int, typer.Option(help="Random seed of the images.")] = 42,
) -> None:
    """Draw sample data: OK and defective parts, with masks."""
    from defect_detection.cli.progress import bars
    from defect_detection.config.products import settings_of
    from defect_detection.synthetic.sample_data import write_sample_data

    folder = folder or (settings_of(Path(), product).parent if product else Path()) / "data"
    with bars() as watch:
        summary = write_sample_data(
            folder, seed=seed, on_progress=lambda done, total: watch("sample data", "drawing", done, total)
        )
    counts = ", ".join(
        f"{sum(split.values())} in {name}"
        for name, split in (("train", summary.train), ("test", summary.test))
    )
    typer.echo(f"Sample data in {summary.folder}: {counts}. Next: defect train")


@app.command(rich_help_panel="Start")
def demo(folder: Annotated[Path, typer.Option(help="Folder of the demo project.")] = Path("demo")) -> None:
    """Run all steps in a new folder: draw sample data, train, evaluate, promote, inspect."""
    from rich.console import Console
    from rich.panel import Panel

    from defect_detection.cli.progress import bars
    from defect_detection.use_cases.demo import run_demo

    with bars() as watch:
        done = run_demo(folder, watch)
    title = f"{done.evaluated.decision.outcome.upper()} in {done.seconds:.0f} s"
    Console().print(Panel(_screen(done, folder), title=title, expand=False))


def _screen(done: "Demo", folder: Path) -> str:
    from rich.markup import escape

    metrics, where = done.evaluated.report.metrics, escape(printable(folder))
    return (
        f"[bold]{sum(done.verdicts.values())} test images inspected[/] with {escape(done.model)} "
        f"({done.trained.best}): {done.verdicts['ok']} ok, {done.verdicts['defective']} defective\n\n"
        f"accuracy  {metrics.accuracy}\nescapes   {metrics.escape}\noverkill  {metrics.overkill}\n"
        f"AUROC     {metrics.auroc}\n\n"
        f"[bold]Look at[/]\n  the report     {where}/reports/report.html\n  the overlays   {where}/overlays/\n"
        f"  the runs       mlflow ui --backend-store-uri sqlite:///{where}/mlflow.db --port 5000\n\n"
        f"[bold]Next[/]: put your images into data/train/ok, data/train/<defect>, data/test/…\n"
        "  defect train; defect evaluate; defect inspect"
    )
