"""The command line: each verb reads the configuration, calls one function, and says what came out and what to run next."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from defect_detection import __version__
from defect_detection.errors import EXIT_ERROR, DefectDetectionError

app = typer.Typer(
    name="defect",
    help="Visual inspection: train, evaluate, promote and serve defect classifiers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigFile = Annotated[Path, typer.Option("--config", "-c", help="The settings file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Override a setting, as in training.epochs=5."),
]
DEFAULT_CONFIG = Path("config.yaml")


@app.command()
def train(config: ConfigFile = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """Train one model per hyperparameter set; keep the best by validation."""
    from defect_detection.config import load_config
    from defect_detection.pipeline.progress import bars
    from defect_detection.pipeline.train import train as run

    settings = load_config(config, overrides or ())
    with bars() as watch:
        trained = run(settings, watch)
    for name, figures in trained.validation.items():
        mark = "*" if name == trained.best else " "
        typer.echo(
            f"{mark} {name:<24} validation: AUROC {figures['auroc']:.3f}, accuracy {figures['accuracy']:.3f}, "
            f"escapes {figures['escape_rate']:.1%}, overkill {figures['overkill_rate']:.1%}"
        )
    if trained.skipped:
        typer.echo(f"  {trained.skipped} unreadable files were skipped; skipped.txt in each run names them")
    typer.echo(
        f"Best: {trained.best} (validation AUROC {trained.value:.3f}), registered as {trained.reference}, saved in "
        f"{_short(trained.bundle)}. Next: python src/evaluation.py"
    )


@app.command()
def evaluate(config: ConfigFile = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """Evaluate the best model on the test split; register it; promote it if it is better."""
    from defect_detection.config import load_config
    from defect_detection.pipeline.evaluate import evaluate as run
    from defect_detection.pipeline.progress import bars

    settings = load_config(config, overrides or ())
    with bars() as watch:
        evaluated = run(settings, watch)
    metrics, decision = evaluated.report.metrics, evaluated.decision
    typer.echo(f"Test split, {metrics.n} images, threshold {metrics.threshold:.3f}:")
    for name, value in (
        ("accuracy", metrics.accuracy),
        ("escapes", metrics.escape),
        ("overkill", metrics.overkill),
        ("AUROC", metrics.auroc),
    ):
        typer.echo(f"  {name:<9} {value}")
    for reason in (*decision.reasons, *evaluated.report.notes):
        typer.echo(f"  - {reason}")
    typer.echo(
        f"{decision.outcome.upper()}: registered as {evaluated.registered}. Report: {_short(evaluated.files['html'])}. "
        "Next: python src/inference.py"
    )


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
        + f" (validation images for int8, golden ones for onnx). Wrote {_short(output)}"
    )


@app.command()
def retrain(
    settings: Annotated[Path, typer.Option(help="The retraining's own settings.")] = Path(
        "re_train/re_train.yaml"
    ),
    overrides: Overrides = None,
) -> None:
    """Retrain, compare with the model in production, promote if better."""
    from defect_detection.pipeline.progress import bars
    from defect_detection.retraining.cycle import retrain as run

    with bars() as watch:
        run(settings, overrides or (), watch, typer.echo)


@app.command()
def serve(config: ConfigFile = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """Serve the HTTP API."""
    from defect_detection.config import load_config
    from defect_detection.serving.app import serve as run

    run(load_config(config, overrides or ()))


@app.command("sample-data")
def sample_data(
    folder: Annotated[Path, typer.Option(help="Where to; must not hold other data.")] = Path("data"),
    seed: Annotated[int, typer.Option(help="Another seed, other parts.")] = 42,
) -> None:
    """Draw the sample data: OK and defective parts with masks."""
    from defect_detection.data.procedural.samples import write_sample_data
    from defect_detection.pipeline.progress import bars

    with bars() as watch:
        summary = write_sample_data(
            folder, seed=seed, on_progress=lambda done, total: watch("sample data", "drawing", done, total)
        )
    counts = ", ".join(
        f"{sum(split.values())} in {name}"
        for name, split in (("train", summary.train), ("test", summary.test))
    )
    typer.echo(f"Sample data in {summary.folder}: {counts}. Next: python src/train.py")


@app.command()
def demo(folder: Annotated[Path, typer.Option(help="Everything goes in here.")] = Path("demo")) -> None:
    """Sample data, train, evaluate, promote, inspect: the whole way in a folder of its own."""
    from defect_detection.pipeline.demo import run_demo

    run_demo(folder)


@app.command()
def pretrain(
    steps: Annotated[int, typer.Option(help="Steps of 64 images.")] = 9_000,
    output: Annotated[
        Path | None, typer.Option(help="The weights file; the package's own when not given.")
    ] = None,
    cache: Annotated[Path, typer.Option(help="Drawn images and the state to resume from.")] = Path("cache"),
) -> None:
    """Make the compact trunk's weights again from drawn images (resumable)."""
    from defect_detection.pipeline.progress import bars
    from defect_detection.training.pretraining import Recipe, run_pretraining

    with bars() as watch:
        path, figures = run_pretraining(
            Recipe(steps=steps), cache, output, lambda *progress: watch("pretraining", *progress)
        )
    done = (
        f"Loss {figures['loss']:.4f} (cells {figures['cells_loss']:.4f})" if figures else "Was done already"
    )
    typer.echo(f"{done}; wrote {path}. Next: python src/train.py")


cache_app = typer.Typer(help="Show or clear the cache of decoded images and features.")
app.add_typer(cache_app, name="cache")


@cache_app.callback(invoke_without_command=True)
def cache(context: typer.Context, config: ConfigFile = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """Show what the cache holds, how large it is and when it was last used."""
    from defect_detection.config import load_config
    from defect_detection.data.cache_folder import table

    if context.invoked_subcommand is None:
        settings = load_config(config, overrides or ())
        typer.echo("\n".join([str(settings.cache_dir), *table(settings.cache_dir, settings.cache_max_gb)]))


@cache_app.command()
def clear(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(help="What to clear, as `defect cache` names it; else pixels and activations."),
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    overrides: Overrides = None,
) -> None:
    """Remove from the cache what no process has open. It is made again where it is needed."""
    from defect_detection.config import load_config
    from defect_detection.data.cache_folder import LIMITED, in_words
    from defect_detection.data.cache_folder import clear as run

    folder = load_config(config, overrides or ()).cache_dir
    freed, in_use = run(folder, kinds or LIMITED)
    typer.echo(f"Freed {in_words(freed)} in {_short(folder)}")
    for path in in_use:
        typer.echo(f"  in use, so it stayed: {_short(path)}")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def _short(path: Path) -> str:
    """Return a path from the current folder, where it lies below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb. Returns the exit code: 0, 2 for a wrong command line, 3 for an error that the user can mend, 130 for Ctrl-C."""
    os.environ.setdefault(
        "TF_CPP_MIN_LOG_LEVEL", "3"
    )  # TensorFlow's own chatter; its errors come as exceptions
    try:
        code = app(args=list(sys.argv[1:] if argv is None else argv), standalone_mode=False)
    except DefectDetectionError as error:
        typer.secho(f"Error: {error}", err=True, fg="red" if sys.stderr.isatty() else None)
        return EXIT_ERROR
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("Stopped. Nothing half-done was kept.", err=True)
        return 130
    except typer.Exit as stop:
        return stop.exit_code
    except Exception as error:  # click's own errors show themselves
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            error.show()
            return int(error.exit_code)
        raise
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
