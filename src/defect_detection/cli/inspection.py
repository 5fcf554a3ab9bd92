"""The command that inspects images."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, Product, app
from defect_detection.errors import EXIT_ERROR, ConfigError

if TYPE_CHECKING:
    from defect_detection.config import Config


@app.command(rich_help_panel="Inspection")
def inspect(
    images: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders or patterns (default: the setting inference_images)."),
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Use this model folder instead of the registry.")] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    output: Annotated[
        str | None,
        typer.Option(
            help="Write each image with its evidence map into this folder; with --engine ray, write verdicts as Parquet files."
        ),
    ] = None,
    show_region: Annotated[
        bool,
        typer.Option(help="With --output: darken in each overlay the pixels that the model does not see."),
    ] = False,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(
            help="Inspect in this process, or on a Ray cluster, which also takes URLs and Parquet files."
        ),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(help="The Ray cluster: auto or host:port (default: the setting scaling.address)."),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(help="With --engine ray: the column of Parquet files that holds images or paths."),
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
    product: Product = None,
) -> None:
    """Inspect images with the model in production, or with a model folder."""
    if show_region and (output is None or engine == "ray"):
        raise ConfigError(
            "--show-region: expected --output FOLDER, where the overlays go, and no --engine ray"
        )
    if engine == "ray":
        if output is None or json_lines:
            raise ConfigError(
                "--engine ray: expected --output FOLDER or URL, and no --json; the verdicts go there as Parquet files"
            )
        given = _settings_of_ray(config, [*(overrides or []), *_address(address)], product)
        _inspect_on_ray(images or [], model, output, column, given)
        return
    if address or column:
        raise ConfigError(
            f"{'--address' if address else '--column'}: is for --engine ray; add it, or leave this option out"
        )
    from defect_detection.cli.verdicts import show_verdicts
    from defect_detection.use_cases.inspection import inspect_images

    folder = Path(output) if output else None
    settings = None
    if not (model and images) or overrides or product or config.exists():
        from defect_detection.config import load_config

        settings = load_config(config, overrides or (), product)
    if not show_verdicts(
        inspect_images(images or (), model, folder, settings, show_region), json_lines, folder
    ):
        raise typer.Exit(EXIT_ERROR)


def _settings_of_ray(file: Path, overrides: list[str], product: str | None) -> "Config":
    from defect_detection.config import load_config
    from defect_detection.scaling.cluster import check_ray

    settings = load_config(file, overrides, product)
    check_ray(settings.scaling.address)
    return settings


def _inspect_on_ray(
    images: list[str],
    model: Path | None,
    output: str,
    column: str | None,
    config: "Config",
) -> None:
    from defect_detection.cli.progress import bars
    from defect_detection.scaling.inspection import inspect_on_ray
    from defect_detection.use_cases.inspection import production_bundle

    bundle = (model, None) if model else production_bundle(config)
    with bars() as watch:
        done = inspect_on_ray(images or list(config.inference_images), bundle, output, config, column, watch)
    for line in done.said:
        typer.echo(line)
    typer.echo(str(done))


def _address(address: str | None) -> list[str]:
    return [f"scaling.address={json.dumps(address)}"] if address else []
