"""Commands that train."""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, Product, app, short

if TYPE_CHECKING:
    from defect_detection.config import Config
    from defect_detection.use_cases.engine import Engine


@app.command(rich_help_panel="Model")
def train(
    engine: Annotated[
        Literal["local", "ray"] | None,
        typer.Option(
            help="Train in this process, or on a Ray cluster (default: the setting scaling.engine)."
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="The Ray cluster: auto, host:port or ray://host:port (default: the setting scaling.address)."
        ),
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
    product: Product = None,
) -> None:
    """Train one model per hyperparameter set and keep the best on validation."""
    from defect_detection.config import load_config
    from defect_detection.data.presence import require_images

    given = {"engine": engine, "address": address}
    chosen = [f"scaling.{key}={json.dumps(value)}" for key, value in given.items() if value]
    settings = load_config(config, [*(overrides or ()), *chosen], product)
    require_images(settings)

    from defect_detection.cli.progress import bars
    from defect_detection.use_cases.train import diverged_in_words
    from defect_detection.use_cases.train import train as run

    with _engine(settings) as chosen_engine, bars() as watch:
        trained = run(settings, watch, typer.echo, chosen_engine)
    for name, figures in trained.validation.items():
        mark = "*" if name == trained.best else " "
        typer.echo(f"{mark} {name:<24} validation: {in_words(figures)}")
    for line in diverged_in_words(trained.diverged):
        typer.echo(f"! {line}")
    if trained.reason:
        typer.echo(f"  {trained.reason}")
    for claim in trained.claims:
        typer.echo(f"  {claim}")
    typer.echo(f"  Data: {trained.audit}; see {short(trained.audit.files['html'])}")
    for note in trained.notes:
        typer.echo(f"  {note}")
    if trained.skipped:
        typer.echo(f"  {trained.skipped} files were skipped; skipped.txt in each run lists them")
    typer.echo(
        f"Best: {trained.best} ({trained.metric} {trained.value:.3f}), registered as {trained.reference}, saved in "
        f"{short(trained.bundle)}. Next: defect evaluate{settings.option}"
    )


def in_words(figures: Mapping[str, float]) -> str:
    """Return the known figures of a set: without defective images, AUROC and escapes are unknown."""
    parts = [f"AUROC {figures['auroc']:.3f}"] if "auroc" in figures else []
    parts.append(f"accuracy {figures['accuracy']:.3f}")
    parts.append(f"escapes {figures['escape_rate']:.1%}" if "escape_rate" in figures else "escapes unknown")
    parts.append(f"overkill {figures['overkill_rate']:.1%}")
    if "drawn" in figures:
        parts.append(
            f"{figures['drawn_caught']:.0f} of {figures['drawn']:.0f} drawn defects caught (drawn, not real)"
        )
    return ", ".join(parts)


def _engine(settings: "Config") -> "AbstractContextManager[Engine]":
    """Return where training runs; only a cluster needs more than the package itself."""
    from defect_detection.use_cases.engine import HERE

    if settings.scaling.engine == "local":
        return nullcontext(HERE)
    from defect_detection.scaling.cluster import check_ray

    check_ray(settings.scaling.address)
    from defect_detection.scaling.training import on_ray

    return on_ray(settings)


@app.command(rich_help_panel="Model")
def retrain(
    settings: Annotated[
        Path | None,
        typer.Option(help="Settings of the retraining (default: re_train/re_train.yaml of the product)."),
    ] = None,
    start_from: Annotated[
        Literal["registry", "scratch"] | None,
        typer.Option(
            help="registry: continue from a registered model; scratch: train as `defect train` does (default: the setting start_from)."
        ),
    ] = None,
    overrides: Overrides = None,
    product: Product = None,
) -> None:
    """Retrain, compare with the model in production, and promote if better.

    Exit codes: 0 PROMOTE, 1 HOLD or PASSED, 2 INSUFFICIENT EVIDENCE, 3 error.
    """
    from defect_detection.cli.progress import bars
    from defect_detection.processes.messages import write
    from defect_detection.retraining.cycle import retrain as run

    with bars() as watch:
        retrained = run(settings or _settings_of(product), overrides or (), watch, write, start_from)
    raise typer.Exit(retrained.outcome.exit_code)


def _settings_of(product: str | None) -> Path:
    from defect_detection.config.products import DEFAULT, settings_of
    from defect_detection.config.retraining import DEFAULT_RETRAIN_PATH

    if product in (None, DEFAULT):
        return DEFAULT_RETRAIN_PATH
    return settings_of(Path(), product).parent / DEFAULT_RETRAIN_PATH


@app.command(rich_help_panel="Model")
def advise(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
    product: Product = None,
) -> None:
    """Report what the present images and labels can train and measure, what 20 more labels would change, and the next command."""
    from defect_detection.config import load_config
    from defect_detection.records.record_store import Records
    from defect_detection.retraining.advice import advise as run

    settings = load_config(config, overrides or (), product)
    records = Records.of(settings)
    try:
        found = run(settings, records.database)
    finally:
        records.close()
    typer.echo(found.model_dump_json(indent=2) if as_json else found.text)


@app.command(rich_help_panel="Model")
def pretrain(
    steps: Annotated[int | None, typer.Option(help="Training steps (default: those of the recipe).")] = None,
    teacher: Annotated[
        Literal["EfficientNetLite0"] | None,
        typer.Option(help="Learn to predict the feature maps of this trunk (extra 'pretrained')."),
    ] = None,
    start: Annotated[
        Literal["procedural", "random"] | None,
        typer.Option(help="Initial weights (default: procedural with a teacher, otherwise random)."),
    ] = None,
    precision: Annotated[
        Literal["float32", "mixed_bfloat16"],
        typer.Option(help="Keras dtype policy; mixed_bfloat16 is faster on processors that support it."),
    ] = "float32",
    output: Annotated[
        Path | None, typer.Option(help="Output file (default: the weights file of the package).")
    ] = None,
    cache: Annotated[
        Path, typer.Option(help="Work folder with the drawn images and the training state.")
    ] = Path("cache"),
) -> None:
    """Pre-train the compact trunk on drawn images; an interrupted run continues."""
    from defect_detection.cli.progress import bars
    from defect_detection.training.pretraining import run_pretraining
    from defect_detection.training.recipe import DISTILLED, PROCEDURAL

    recipe = DISTILLED if teacher else PROCEDURAL
    recipe = replace(recipe, steps=steps or recipe.steps, precision=precision)
    if start:
        recipe = replace(recipe, start=None if start == "random" else start)
    with bars() as watch:
        path, figures = run_pretraining(
            recipe,
            cache,
            output,
            partial(watch, "pretraining"),
        )
    done = f"Loss {figures['loss']:.4f}" if figures else "Already complete"
    typer.echo(f"{done}; wrote {path}. Next: defect train")
