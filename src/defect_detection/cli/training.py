"""Verbs that train."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, app, short


@app.command(rich_help_panel="Model")
def train(config: ConfigFile = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """Train one model per hyperparameter set; keep the best by validation."""
    from defect_detection.config import load_config
    from defect_detection.data.presence import require_images

    settings = load_config(config, overrides or ())
    require_images(settings)

    from defect_detection.use_cases.progress import bars
    from defect_detection.use_cases.train import diverged_in_words
    from defect_detection.use_cases.train import train as run

    with bars() as watch:
        trained = run(settings, watch, typer.echo)
    for name, figures in trained.validation.items():
        mark = "*" if name == trained.best else " "
        typer.echo(
            f"{mark} {name:<24} validation: AUROC {figures['auroc']:.3f}, accuracy {figures['accuracy']:.3f}, "
            f"escapes {figures['escape_rate']:.1%}, overkill {figures['overkill_rate']:.1%}"
        )
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
        typer.echo(f"  {trained.skipped} files were skipped; skipped.txt in each run names them")
    typer.echo(
        f"Best: {trained.best} (validation AUROC {trained.value:.3f}), registered as {trained.reference}, saved in "
        f"{short(trained.bundle)}. Next: defect evaluate"
    )


@app.command(rich_help_panel="Model")
def retrain(
    settings: Annotated[Path, typer.Option(help="The retraining's own settings.")] = Path(
        "re_train/re_train.yaml"
    ),
    overrides: Overrides = None,
) -> None:
    """Retrain, compare with the model in production, promote if better.

    Exit code: 0 PROMOTE, 1 HOLD, 2 INSUFFICIENT EVIDENCE, 3 an error.
    """
    from defect_detection.retraining.cycle import retrain as run
    from defect_detection.use_cases.progress import bars

    with bars() as watch:
        retrained = run(settings, overrides or (), watch, typer.echo)
    raise typer.Exit(retrained.outcome.exit_code)


@app.command(rich_help_panel="Model")
def pretrain(
    steps: Annotated[
        int | None, typer.Option(help="Steps to train; the recipe's own when not given.")
    ] = None,
    teacher: Annotated[
        Literal["EfficientNetLite0"] | None,
        typer.Option(help="Learn the maps of this trunk (extra 'pretrained') instead of the defects."),
    ] = None,
    start: Annotated[
        Literal["procedural", "random"] | None,
        typer.Option(help="Weights to start from; with a teacher procedural, else random, when not given."),
    ] = None,
    precision: Annotated[
        Literal["float32", "mixed_bfloat16"],
        typer.Option(help="Keras' dtype policy; mixed_bfloat16 is faster where the processor has it."),
    ] = "float32",
    output: Annotated[
        Path | None, typer.Option(help="The weights file; the package's own when not given.")
    ] = None,
    cache: Annotated[Path, typer.Option(help="Drawn images and the state to resume from.")] = Path("cache"),
) -> None:
    """Make the compact trunk's weights again from drawn images (resumable)."""
    from defect_detection.training.pretraining import run_pretraining
    from defect_detection.training.recipe import DISTILLED, PROCEDURAL
    from defect_detection.use_cases.progress import bars

    recipe = DISTILLED if teacher else PROCEDURAL
    recipe = replace(recipe, steps=steps or recipe.steps, precision=precision)
    if start:
        recipe = replace(recipe, start=None if start == "random" else start)
    with bars() as watch:
        path, figures = run_pretraining(
            recipe,
            cache,
            output,
            lambda *progress: watch("pretraining", *progress),
        )
    done = f"Loss {figures['loss']:.4f}" if figures else "Was done already"
    typer.echo(f"{done}; wrote {path}. Next: defect train")
