"""Verbs that judge a model and decide about it."""

from typing import TYPE_CHECKING

import typer

from defect_detection.cli.app import DEFAULT_CONFIG, ConfigFile, Overrides, app, short

if TYPE_CHECKING:
    from defect_detection.config import Config
    from defect_detection.use_cases.evaluate import Evaluated


@app.command(rich_help_panel="Model")
def evaluate(config: ConfigFile = DEFAULT_CONFIG, overrides: Overrides = None) -> None:
    """Evaluate the best model on the test split; register it; promote it if the gate says so.

    Exit code: 0 PROMOTE, 1 HOLD, 2 INSUFFICIENT EVIDENCE, 3 an error.
    """
    from defect_detection.config import load_config
    from defect_detection.use_cases.evaluate import evaluate as run
    from defect_detection.use_cases.progress import bars

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
    facts = [fact.text for fact in evaluated.report.facts]
    for reason in (*facts, *evaluated.report.notes, *decision.reasons):
        typer.echo(f"  - {reason}")
    if evaluated.repeated:
        typer.echo(
            f"The same model was evaluated on these images before, against the same champion: entry {evaluated.repeated} of "
            "`defect history`. Nothing was added to the ledger, and the test set was not used up further."
        )
    typer.echo(
        f"{decision.outcome.upper()}: registered as {evaluated.registered}. Report: {short(evaluated.files['html'])}. "
        f"{_next(evaluated, settings)}"
    )
    raise typer.Exit(decision.outcome.exit_code)


def _next(evaluated: "Evaluated", settings: "Config") -> str:
    """Say what to do now: inspect where a model is in production, else what would bring one there."""
    from defect_detection.evaluation.gate import Outcome

    if evaluated.champion or evaluated.decision.outcome is Outcome.PROMOTE:
        return "Next: defect inspect"
    return (
        "Nothing is in production. Next: look at the worst images in the report; train again with more or better labelled images; "
        f"try the model with `defect inspect --model {short(settings.bundle_dir)} IMAGE`; or, if its figures are good enough for you, "
        f"lower evaluation_threshold ({settings.evaluation_threshold:g}) in config.yaml and evaluate again"
    )
