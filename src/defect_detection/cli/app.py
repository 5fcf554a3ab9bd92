"""The application that all verbs register with, and the options that they share."""

from pathlib import Path
from typing import Annotated

import typer

from defect_detection import __version__
from defect_detection.text import from_root, printable

app = typer.Typer(
    name="defect",
    help="Visual inspection: train, evaluate, promote and serve defect classifiers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigFile = Annotated[Path, typer.Option("--config", "-c", help="The settings file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Override a setting, as in training.epochs=5."),
]
DEFAULT_CONFIG = Path("config.yaml")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Visual inspection: train, evaluate, promote and serve defect classifiers."""


def short(path: Path) -> str:
    """Return a path from the current folder, where it lies below it."""
    return printable(from_root(path, Path.cwd()))
