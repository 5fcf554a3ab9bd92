"""Verbs that start a project: its settings, sample data, and the whole way at once."""

from pathlib import Path
from typing import Annotated

import typer

from defect_detection.cli.app import app, short


@app.command(rich_help_panel="Start")
def init(folder: Annotated[Path, typer.Argument(help="The project's folder.")] = Path()) -> None:
    """Write a config.yaml that explains each setting, and make the folders that it names."""
    from defect_detection.use_cases.project import start_project

    for path in start_project(folder):
        typer.echo(f"Wrote {short(path.absolute())}")
    typer.echo(
        f"Put your images into {short((folder / 'data/train').absolute())} and {short((folder / 'data/test').absolute())}, "
        "one folder per class (ok, and one for each type of defect), or draw some with: defect sample-data. Next: defect train"
    )


@app.command("sample-data", rich_help_panel="Start")
def sample_data(
    folder: Annotated[Path, typer.Option(help="Where to; must not hold other data.")] = Path("data"),
    seed: Annotated[int, typer.Option(help="Another seed, other parts.")] = 42,
) -> None:
    """Draw the sample data: OK and defective parts with masks."""
    from defect_detection.synthetic.sample_data import write_sample_data
    from defect_detection.use_cases.progress import bars

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
def demo(folder: Annotated[Path, typer.Option(help="Everything goes in here.")] = Path("demo")) -> None:
    """Sample data, train, evaluate, promote, inspect: the whole way in a folder of its own."""
    from defect_detection.use_cases.demo import run_demo

    run_demo(folder)
