"""Commands that check a deployed model, export it, and compare its forms."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, Product, app, short
from defect_detection.errors import EXIT_ERROR

_MARKS = {True: "ok", False: "FAILED", None: "none"}
_COLOURS = {True: "green", False: "red", None: "yellow"}
Model = Annotated[Path | None, typer.Option(help="Model folder (default: the setting bundle_dir).")]


@app.command(rich_help_panel="Model")
def export(
    form: Annotated[str, typer.Option("--format", help="Format: onnx, litert or openvino.")],
    output: Annotated[Path, typer.Option(help="Output folder.")],
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="8-bit convolutions: faster, but scores change slightly (openvino, onnx)."
        ),
    ] = False,
    model: Model = None,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
    product: Product = None,
) -> None:
    """Export a model for another runtime, after checking that it gives the same verdicts there."""
    from defect_detection.config import load_config
    from defect_detection.use_cases.export import export as run

    settings = load_config(config, overrides or (), product)
    done = run(form, model or settings.bundle_dir, output, settings, int8=int8)
    for line in filter(None, (done.parity, done.loss)):
        typer.echo(str(line))
    typer.echo(f"Wrote {short(output.absolute())}. How to use it: docs/export.md")


@app.command(rich_help_panel="Model")
def parity(
    model: Model = None,
    forms: Annotated[
        list[str] | None, typer.Option("--form", help="Check only this form (repeatable).")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="Also check the server at this address, such as http://localhost:5001/predict."),
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
    product: Product = None,
) -> None:
    """Run a model's golden images in every runtime, and report the verdicts that differ from Keras."""
    from defect_detection.config import load_config
    from defect_detection.use_cases.parity import parity_lines

    bundle = model or load_config(config, overrides or (), product).bundle_dir
    agreed = True
    for line, allowed in parity_lines(bundle, forms, url):
        agreed &= allowed
        typer.echo(line)
    if not agreed:
        raise typer.Exit(EXIT_ERROR)


@app.command(rich_help_panel="Model")
def selfcheck(
    model: Annotated[
        Path | None, typer.Option(help="Check this model folder instead of the model in production.")
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
    product: Product = None,
) -> None:
    """Check a model's files, its golden images and the known defects. Exit code: 0 if all checks pass, otherwise 1."""
    from defect_detection.config import load_config
    from defect_detection.use_cases.selfcheck import selfcheck as run

    checked = run(load_config(config, overrides or (), product), model)
    for check in checked.checks:
        mark = typer.style(
            f"{_MARKS[check.passed]:<7}", fg=_COLOURS[check.passed] if sys.stdout.isatty() else None
        )
        typer.echo(f"{mark} {check.name:<10} {check.text}")
    failed = [check.name for check in checked.checks if check.passed is False]
    typer.echo(f"{checked.model}: {'failed: ' + ', '.join(failed) if failed else 'all checks passed'}")
    raise typer.Exit(1 if failed else 0)
