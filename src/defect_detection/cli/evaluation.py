"""The command that evaluates a model and decides about its promotion."""

from typing import TYPE_CHECKING

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, Product, app, short

if TYPE_CHECKING:
    from defect_detection.config import Config
    from defect_detection.use_cases.evaluate import Evaluation


@app.command(rich_help_panel="Model")
def evaluate(
    config: ConfigFile = DEFAULT_CONFIG, overrides: Overrides = None, product: Product = None
) -> None:
    """Test the best model, register it, and promote it if it passes the gate.

    Exit codes: 0 PROMOTE, 1 HOLD, 2 INSUFFICIENT EVIDENCE, 3 error.
    """
    from defect_detection.cli.progress import bars
    from defect_detection.config import load_config
    from defect_detection.use_cases.evaluate import evaluate as run

    settings = load_config(config, overrides or (), product)
    with bars() as watch:
        evaluated = run(settings, watch)
    metrics, decision = evaluated.report.metrics, evaluated.decision
    typer.echo(f"Test split, {metrics.n} images, threshold {metrics.threshold:.3f}:")
    for name, value in (
        ("accuracy", metrics.accuracy),
        ("escapes", metrics.escape),
        ("overkill", metrics.overkill),
        ("AUROC", metrics.auroc or "unknown (no defective image)"),
    ):
        typer.echo(f"  {name:<9} {value}")
    if not metrics.escape.total:
        typer.echo(f"  {evaluated.report.more_defectives_needed}")
    facts = [fact.text for fact in evaluated.report.facts]
    for reason in (*facts, *evaluated.report.notes, *decision.reasons):
        typer.echo(f"  - {reason}")
    if evaluated.repeated:
        typer.echo(
            f"This repeats entry {evaluated.repeated} of `defect history` (same model, same test images, same champion). "
            "Nothing was added to the ledger, and it does not count as test-set reuse."
        )
    typer.echo(
        f"{decision.outcome.upper()}: registered as {evaluated.registered}. Report: {short(evaluated.files['html'])}. "
        f"{_next(evaluated, settings)}"
    )
    raise typer.Exit(decision.outcome.exit_code)


def _next(evaluated: "Evaluation", settings: "Config") -> str:
    """Suggest the next step: inspect, or how to get a model into production."""
    from defect_detection.evaluation.gate import Outcome

    if evaluated.champion or evaluated.decision.outcome is Outcome.PROMOTE:
        return f"Next: defect inspect{settings.option}"
    return (
        "No model is in production. Next: look at the worst images in the report; train again with more images or better "
        f"labels; try the model with `defect inspect --model {short(settings.bundle_dir)} IMAGE`{_other_limit(evaluated, settings)}"
    )


def _other_limit(evaluated: "Evaluation", settings: "Config") -> str:
    """Return the limit to change so that this model passes; "" if another check holds it."""
    if evaluated.decision.register_as == "production":
        return ""
    if evaluated.report.metrics.escape.total:
        said = f"its accuracy is sufficient for you, lower evaluation_threshold ({settings.evaluation_threshold:g})"
    else:  # accuracy does not decide
        key, limit = (
            "evaluation.operating_point.max_overkill_rate",
            settings.evaluation.operating_point.max_overkill_rate,
        )
        said = f"its overkill is acceptable for you, raise {key} ({limit:g})"
    return f"; or, if {said} in config.yaml and evaluate again"
