"""Verbs that copy a whole project, and make one of such a copy."""

from pathlib import Path
from typing import Annotated

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, app, short
from defect_detection.text import printable

_NOT_COPIED = "Not in it: the images for training and test in data/, the cache, reports, and the secrets in .env and .defect-key"


@app.command(rich_help_panel="Records")
def backup(
    folder: Annotated[Path, typer.Argument(help="New or empty folder for the copy.", metavar="DIR")],
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
) -> None:
    """Copy the database, images, registry, ledger and models of a project to a folder. Servers may keep running."""
    from defect_detection.config import load_config
    from defect_detection.use_cases.backup import back_up

    made = back_up(load_config(config, overrides or ()), folder)
    typer.echo(
        f"Backup in {short(folder.absolute())}: {made.files} files, {made.n_bytes / 1e6:.1f} MB, compared by SHA-256"
    )
    if made.without_image:
        typer.echo(
            f"{len(made.without_image)} images are missing in the copy: they were deleted meanwhile, or were missing or damaged "
            f"before. Their inspections are there. The first: {made.without_image[0]}"
        )
    for key, value in made.moved.items():
        typer.echo(
            f"{key} is {value} in the settings of the copy, because the folder of the project lies elsewhere"
        )
    typer.echo(_NOT_COPIED)


@app.command(rich_help_panel="Records")
def restore(
    backup: Annotated[
        Path, typer.Argument(help="Folder that `defect backup` wrote.", metavar="DIR", readable=False)
    ],
    folder: Annotated[
        Path,
        typer.Argument(
            help="New or empty folder for the project (default: the current folder).", metavar="[PROJECT]"
        ),
    ] = Path(),
) -> None:
    """Make a project from a backup, in any folder and on any machine."""
    from defect_detection.use_cases.restore import restore as run

    folder = folder.absolute()  # now: the current folder is replaced
    typer.echo(f"Restored {run(backup, folder)} files, compared by SHA-256, into {printable(folder)}")
    typer.echo(f"{_NOT_COPIED}. Next: cd {printable(folder)} && defect serve")
