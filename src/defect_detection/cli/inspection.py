"""The verb that inspects images."""

from pathlib import Path
from typing import Annotated

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, app
from defect_detection.errors import EXIT_ERROR


@app.command(rich_help_panel="Inspection")
def inspect(
    images: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders or patterns; else inference_images of the settings."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Inspect with this model folder instead of the registry.")
    ] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Write each image with its evidence map to this folder.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
) -> None:
    """Inspect images with the model in production, or with a model folder."""
    from defect_detection.use_cases.show import inspect_images

    all_read = inspect_images(images or [], model, json_lines, output, config, overrides or [])
    if not all_read:
        raise typer.Exit(EXIT_ERROR)
