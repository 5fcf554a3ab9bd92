"""Verbs that inspect images, here or by HTTP, and that take a model elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, app, short
from defect_detection.errors import EXIT_ERROR


@app.command()
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
    from defect_detection.pipeline.show import inspect_images

    all_read = inspect_images(images or [], model, json_lines, output, config, overrides or [])
    if not all_read:
        raise typer.Exit(EXIT_ERROR)


@app.command()
def export(
    form: Annotated[
        str, typer.Argument(help="onnx: one file. int8: a model folder with 8-bit convolutions.")
    ],
    output: Annotated[Path, typer.Option(help="The file or the folder to write.")],
    model: Annotated[Path | None, typer.Option(help="The model folder; bundle_dir when not given.")] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
) -> None:
    """Export a model to ONNX or to 8 bits, and say how far its scores move (needs the extra `export`)."""
    from defect_detection.config import load_config
    from defect_detection.pipeline.export import export as run

    settings = load_config(config, overrides or ())
    found = run(form, model or settings.bundle_dir, output, settings)
    typer.echo(
        f"{found.flips} of {found.images} verdicts differ, scores by up to {found.difference:.2g}"
        + ("" if found.auroc is None else f"; AUROC {found.auroc_before:.4f} before, {found.auroc:.4f} after")
        + f" (validation images for int8, golden ones for onnx). Wrote {short(output)}"
    )


@app.command()
def serve(config: ConfigFile = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """Serve the HTTP API."""
    from defect_detection.config import load_config
    from defect_detection.serving.app import serve as run

    run(load_config(config, overrides or ()))
