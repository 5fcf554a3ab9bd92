"""The command that inspects images."""

from pathlib import Path
from typing import Annotated

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, app
from defect_detection.errors import EXIT_ERROR


@app.command(rich_help_panel="Inspection")
def inspect(
    images: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders or patterns (default: the setting inference_images)."),
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Use this model folder instead of the registry.")] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Write each image with its evidence map into this folder.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
) -> None:
    """Inspect images with the model in production, or with a model folder."""
    from defect_detection.cli.verdicts import show_verdicts
    from defect_detection.use_cases.inspection import inspect_images

    settings = None
    if not (model and images) or overrides or config.exists():
        from defect_detection.config import load_config

        settings = load_config(config, overrides or ())
    if not show_verdicts(inspect_images(images or (), model, output, settings), json_lines, output):
        raise typer.Exit(EXIT_ERROR)
