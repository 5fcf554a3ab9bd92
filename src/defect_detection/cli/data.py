"""Verbs about data: sample data and the cache."""

from pathlib import Path
from typing import Annotated

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, app, short


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="The project's folder.")] = Path()) -> None:
    """Write a config.yaml that explains each setting, and make the folders that it names."""
    from defect_detection.use_cases.project import start_project

    for path in start_project(folder):
        typer.echo(f"Wrote {short(path.absolute())}")
    typer.echo(
        f"Put your images into {short((folder / 'data/train').absolute())} and {short((folder / 'data/test').absolute())}, "
        "one folder per class (ok, and one for each type of defect), or draw some with: defect sample-data. Next: defect train"
    )


@app.command("sample-data")
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


@app.command()
def demo(folder: Annotated[Path, typer.Option(help="Everything goes in here.")] = Path("demo")) -> None:
    """Sample data, train, evaluate, promote, inspect: the whole way in a folder of its own."""
    from defect_detection.use_cases.demo import run_demo

    run_demo(folder)


cache_app = typer.Typer(help="Show or clear the cache of decoded images and features.")
app.add_typer(cache_app, name="cache")


@cache_app.callback(invoke_without_command=True)
def cache(context: typer.Context, config: ConfigFile = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """Show what the cache holds, how large it is and when it was last used."""
    from defect_detection.config import load_config
    from defect_detection.data.cache_folder import table

    if context.invoked_subcommand is None:
        settings = load_config(config, overrides or ())
        typer.echo("\n".join([str(settings.cache_dir), *table(settings.cache_dir, settings.cache_max_gb)]))


@cache_app.command()
def clear(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(help="What to clear, as `defect cache` names it; else pixels and activations."),
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
) -> None:
    """Remove from the cache what no process has open. It is made again where it is needed."""
    from defect_detection.config import load_config
    from defect_detection.data.cache_folder import LIMITED, in_words
    from defect_detection.data.cache_folder import clear as run

    folder = load_config(config, overrides or ()).cache_dir
    freed, in_use = run(folder, kinds or LIMITED)
    typer.echo(f"Freed {in_words(freed)} in {short(folder)}")
    for path in in_use:
        typer.echo(f"  in use, so it stayed: {short(path)}")
