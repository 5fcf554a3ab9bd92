"""Commands for production: history, manual promotion and rollback."""

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, Product, app

if TYPE_CHECKING:
    from defect_detection.tracking.ledger_entry import LedgerEntry
    from defect_detection.use_cases.by_hand import ProductionMoved
    from defect_detection.use_cases.history import History

_LONGEST_REASON = 120  # characters of a row


@app.command(rich_help_panel="Production")
def history(
    everything: Annotated[
        bool, typer.Option("--all", help="Also show decisions that did not change production.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object with complete reasons.")
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
    product: Product = None,
) -> None:
    """List each change of production: when, who and why."""
    from defect_detection.config import load_config
    from defect_detection.use_cases.history import history as read

    found = read(load_config(config, overrides or (), product))
    entries = [entry for entry in found.entries if everything or entry.after is not None]
    if as_json:
        typer.echo(json.dumps(_document(found, entries), indent=2))
        return
    typer.echo("In production: " + (f"version {found.in_production}" if found.in_production else "nothing"))
    for note in found.notes:
        typer.secho(f"Attention: {note}.", fg="yellow" if sys.stdout.isatty() else None)
    _print_table(entries)


@app.command(rich_help_panel="Production")
def promote(
    version: Annotated[int, typer.Argument(help="Version number, as shown by `defect history`.")],
    reason: Annotated[str, typer.Option(help="Reason, recorded in the ledger.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="Registered model of the version (default: the production model). A version of another model is first "
            "copied to the production model."
        ),
    ] = None,
    gated: Annotated[
        bool,
        typer.Option(
            "--gated",
            help="Promote only if the gate passed the version, compared with the version in production now.",
        ),
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
    product: Product = None,
) -> None:
    """Promote a version by hand, without the gate. With --gated: promote a version that passed the gate and waits."""
    from defect_detection.config import load_config
    from defect_detection.use_cases.by_hand import NO_GATE
    from defect_detection.use_cases.by_hand import promote as run

    if not reason.strip():
        raise typer.BadParameter("expected a reason, received an empty text", param_hint="--reason")
    moved = run(load_config(config, overrides or (), product), version, reason.strip(), model, gated=gated)
    if not gated:
        typer.secho(f"Warning: {NO_GATE}.", err=True, fg="yellow" if sys.stderr.isatty() else None)
    _say(moved)


@app.command(rich_help_panel="Production")
def rollback(
    to: Annotated[
        int | None, typer.Option(help="Version to return to (default: the previous version in production).")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Reason, recorded in the ledger.")] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
    product: Product = None,
) -> None:
    """Return to the previous version in production, or to another one."""
    from defect_detection.config import load_config
    from defect_detection.use_cases.by_hand import rollback as run

    _say(run(load_config(config, overrides or (), product), to, reason))


def _say(moved: "ProductionMoved") -> None:
    same = moved.before and moved.before.version == moved.after.version
    instead = f", instead of version {moved.before.version}" if moved.before and not same else ""
    instead = ", as before, and the ledger now has the entry" if same else instead
    for note in moved.notes:
        typer.echo(f"Attention: {note}.")
    typer.echo(
        f"{moved.after} is in production{instead}: its files match their checksums, it loads, and its golden images get the "
        "same verdicts as at training. Next: defect history"
    )


def _document(found: "History", entries: "list[LedgerEntry]") -> dict[str, object]:
    rows = [asdict(entry) | {"when": entry.when.isoformat()} for entry in entries]
    return {"in_production": found.in_production, "notes": found.notes, "entries": rows}


def _print_table(entries: "list[LedgerEntry]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not entries:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("when", "version", "kind", "who", "accuracy", "escapes", "why"):
        table.add_column(column, overflow="fold", no_wrap=column in {"when", "version"})
    for entry in entries:
        table.add_row(*(Text(text) for text in _row(entry)))
    Console(width=None if sys.stdout.isatty() else 180).print(table)


def _row(entry: "LedgerEntry") -> tuple[str, ...]:
    step = f"{entry.before or '–'} → {entry.after}" if entry.after else f"{entry.before or '–'} stays"
    mark = "" if entry.state == "done" else f" ({entry.state})"
    why = entry.why if len(entry.why) <= _LONGEST_REASON else entry.why[: _LONGEST_REASON - 1] + "…"
    when = entry.when.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return when, step, f"{entry.kind}{mark}", entry.who, entry.accuracy or "–", entry.escapes or "–", why
