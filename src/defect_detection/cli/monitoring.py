"""The command that compares the line with the training images of the model."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, Product, app

if TYPE_CHECKING:
    from defect_detection.use_cases.monitoring import LineState

_COLOURS = {"alarm": "bold red", "differs": "yellow", "usual": "green"}


@app.command(rich_help_panel="Production")
def monitor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, as GET /monitoring does.")
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
    product: Product = None,
) -> None:
    """Compare the latest inspections with the training images of the model in production."""
    from defect_detection.config import load_config
    from defect_detection.use_cases.monitoring import monitor as run

    state = run(load_config(config, overrides or (), product))
    if as_json:
        typer.echo(json.dumps(state.to_json(), indent=2))
        return
    _print(state)


def _print(state: "LineState") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from defect_detection.use_cases.monitoring import name_of, range_of

    console, shown = Console(width=None if sys.stdout.isatty() else 180, highlight=False), state.shown
    console.print(Text(shown.message, style=_COLOURS.get(shown.state, "")))
    console.print(
        f"{state.model} {state.version}: {shown.inspections} of {shown.needed} inspections, compared at "
        f"{state.compared_at.astimezone():%Y-%m-%d %H:%M}, next at {state.next_at.astimezone():%H:%M}"
    )
    for place in state.places[1:]:
        if place != shown:
            console.print(Text(place.message, style=_COLOURS.get(place.state, "")))
    if not shown.figures:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in (
        "figure",
        "usual (90 %)",
        "median",
        "now (90 %)",
        "median",
        "distance",
        "p",
        "windows in a row",
    ):
        table.add_column(column, justify="left" if column == "figure" else "right", no_wrap=True)
    for one in shown.figures:
        medians = [f"{spread.middle:.3g}" for spread in (one.usual, one.now)]
        row = [range_of(one.usual), medians[0], range_of(one.now), medians[1]]
        test = [f"{one.difference.distance:.2f}", f"{one.difference.p:.1g}", f"{one.in_a_row}"]
        table.add_row(name_of(one.name), *row, *test, style="bold" if one.alarm else "")
    console.print(table)
