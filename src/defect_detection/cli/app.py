"""The Typer application of all commands, and their common options."""

from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from defect_detection import __version__
from defect_detection.text import from_root, printable

PANELS = ("Start", "Data", "Model", "Inspection", "Production", "Server", "Records")  # of `defect --help`


class _ByPanel(TyperGroup):
    """Lists the verbs panel by panel; within one, as their modules are imported."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return sorted(super().list_commands(ctx), key=lambda name: PANELS.index(self._panel_of(name)))

    def _panel_of(self, name: str) -> str:
        return str(getattr(self.commands[name], "rich_help_panel", None))


app = typer.Typer(
    name="defect",
    cls=_ByPanel,
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
Product = Annotated[
    str | None,
    typer.Option(
        help="Name of the product; `defect products list` shows the names (default: the product of the settings file).",
        metavar="NAME",
    ),
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
    """Return a path relative to the current folder, if it is inside it."""
    return printable(from_root(path, Path.cwd()))
