"""The verb that checks a model where it works."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, app

_MARKS = {True: "ok", False: "FAILED", None: "none"}
_COLOURS = {True: "green", False: "red", None: "yellow"}


@app.command()
def selfcheck(
    model: Annotated[
        Path | None, typer.Option(help="Check this model folder instead of what is in production.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
) -> None:
    """Check a model's files, its golden images and the known defects. Exit code: 0 when all is well, else 1."""
    from defect_detection.config import load_config
    from defect_detection.use_cases.selfcheck import selfcheck as run

    checked = run(load_config(config, overrides or ()), model)
    for check in checked.checks:
        mark = typer.style(
            f"{_MARKS[check.passed]:<7}", fg=_COLOURS[check.passed] if sys.stdout.isatty() else None
        )
        typer.echo(f"{mark} {check.name:<10} {check.text}")
    failed = [check.name for check in checked.checks if check.passed is False]
    typer.echo(f"{checked.model}: {'failed: ' + ', '.join(failed) if failed else 'all is well'}")
    raise typer.Exit(1 if failed else 0)
