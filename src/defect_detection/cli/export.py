"""Verbs that take a model elsewhere, and that prove that it says the same there."""

from pathlib import Path
from typing import Annotated

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, app, short
from defect_detection.errors import EXIT_ERROR

Model = Annotated[Path | None, typer.Option(help="The model folder; bundle_dir when not given.")]


@app.command()
def export(
    form: Annotated[str, typer.Option("--format", help="onnx, litert or openvino.")],
    output: Annotated[Path, typer.Option(help="The folder to write.")],
    int8: Annotated[
        bool, typer.Option("--int8", help="Convolutions in 8 bits: faster, scores move (openvino, onnx).")
    ] = False,
    model: Model = None,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
) -> None:
    """Export a model, if it gives the same verdicts there, and say how far its scores move."""
    from defect_detection.config import load_config
    from defect_detection.use_cases.export import export as run

    settings = load_config(config, overrides or ())
    done = run(form, model or settings.bundle_dir, output, settings, int8=int8)
    for line in filter(None, (done.parity, done.loss)):
        typer.echo(str(line))
    typer.echo(f"Wrote {short(output.absolute())}. How to use it: docs/export.md")


@app.command()
def parity(
    model: Model = None,
    forms: Annotated[
        list[str] | None, typer.Option("--form", help="Only this one; may be given several times.")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="Also by HTTP: where images are posted, as http://localhost:5001/predict."),
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
) -> None:
    """Send a model's golden images through every runtime, and say which verdicts differ from Keras'."""
    from defect_detection.config import load_config
    from defect_detection.use_cases.parity import parity_lines

    bundle = model or load_config(config, overrides or ()).bundle_dir
    agreed = True
    for line, allowed in parity_lines(bundle, forms, url):
        agreed &= allowed
        typer.echo(line)
    if not agreed:
        raise typer.Exit(EXIT_ERROR)
