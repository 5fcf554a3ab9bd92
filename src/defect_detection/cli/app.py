"""The Typer application of all commands, and their common options."""

from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from defect_detection import __version__
from defect_detection.text import from_root, printable

VERBS = (  # in the order of `defect --help` and of docs/commands.md: that of the work
    *("init", "products", "sample-data", "demo", "version"),
    *("data", "cache"),
    *("train", "evaluate", "retrain", "advise", "export", "parity", "selfcheck", "pretrain"),
    "inspect",
    *("promote", "rollback", "history", "monitor"),
    *("serve", "worker", "page"),
    *("keys", "feedback", "prune", "backup", "restore", "records"),
)


class _InOrder(TyperGroup):
    """Lists the verbs in the order of `VERBS`; the help begins a panel where it first meets one."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return sorted(super().list_commands(ctx), key=VERBS.index)


app = typer.Typer(
    name="defect",
    cls=_InOrder,
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
