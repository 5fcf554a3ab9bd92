"""Carry out the decision of the gate: register the candidate, record the decision in the ledger, and move the aliases.

The order is always the same, under the store's lease: repair what was interrupted, see that production is still what was decided
about, register, open the ledger's entry, move the alias last, read it back, close the entry. `by_hand` keeps it too.
"""

from contextlib import ExitStack
from typing import Literal

from defect_detection.config import Config
from defect_detection.errors import DefectDetectionError, StaleDecisionError, WithdrawnError
from defect_detection.evaluation.gate import GateDecision, Outcome
from defect_detection.report.report import Report
from defect_detection.tracking.ledger import withdrawn
from defect_detection.tracking.ledger_entry import LedgerEntry
from defect_detection.tracking.reading import ModelRef
from defect_detection.tracking.registry import About, Registry
from defect_detection.use_cases.entries import figures_of, log_evidence, params_of, plan_of
from defect_detection.use_cases.reporting import PreparedReport
from defect_detection.use_cases.scoring import Scored
from defect_detection.use_cases.turn import PRODUCTION_ALIAS, Turn, stale, take_turn

_ABOUT = {
    "production": f"Models that reached evaluation_threshold on the test images. The alias {PRODUCTION_ALIAS} points to the "
    "version in production; `defect history` lists its changes.",
    "testing": "Models below evaluation_threshold on the test images. A retraining may start from the newest.",
}
RETRAIN_ALIAS = "re-train"


def record(
    prepared: PreparedReport,
    candidate: Scored,
    champion: Scored | None,
    decision: GateDecision,
    registry: Registry,
    config: Config,
    register: Literal["always", "promoted"],
    earlier: LedgerEntry | None = None,
) -> ModelRef | None:
    """Write a decision of the gate down, register the candidate, move the aliases, and publish the report last.

    Where a decision to promote isn't carried out, the report says so.

    Args:
        earlier: the entry of the same decision, when it is repeated: it gets no second one.

    Returns:
        the registered version; None when it did not pass and only those that did are to be registered.

    Raises:
        StaleDecisionError: production is no longer the champion that the decision compared with; no alias was moved.
        WithdrawnError: production was rolled back from this very model; no alias was moved.
        BusyError: another process is changing production. TrackingError: the store can't be used.
    """
    try:
        with take_turn(registry, config) as turn:
            refusal = _refusal(candidate, champion, turn, config, decision)
            if refusal:
                decision = decision.refused(str(refusal))
                prepared = prepared.decided(decision)
            registered = _followed(
                prepared, candidate, champion, decision, turn, config, register, earlier, bool(refusal)
            )
    except DefectDetectionError as error:
        if decision.outcome is Outcome.PROMOTE:
            why = f"The promotion was not completed, see `defect history`: {str(error).rstrip('.')}"
            prepared = prepared.decided(decision.refused(why))
        prepared.publish()
        raise
    prepared.publish()
    if refusal:
        raise refusal
    return registered


def _followed(
    prepared: PreparedReport,
    candidate: Scored,
    champion: Scored | None,
    decision: GateDecision,
    turn: Turn,
    config: Config,
    register: Literal["always", "promoted"],
    earlier: LedgerEntry | None,
    refused: bool,
) -> ModelRef | None:
    """Register the candidate, enter the decision in the ledger, and move the aliases. Return the registered version."""
    promoted = decision.outcome is Outcome.PROMOTE
    registered = None
    if promoted or decision.outcome is Outcome.PASSED or (register == "always" and not refused):
        registered = _register(candidate, prepared.report, decision, turn.registry, config)
    with ExitStack() as stack:
        if earlier is None or earlier.outcome != decision.outcome:
            plan = plan_of(candidate, decision, turn, registered if promoted else None)
            params = params_of(candidate, champion, config) | {
                "test_set_decisions": decision.test_set_decisions
            }
            entry = stack.enter_context(turn.ledger.entry(plan, params))
            log_evidence(entry, prepared, candidate, champion, decision, config)
            entry.tags({"outcome": plan.outcome, "registered": registered or "no"})
        if registered and decision.register_as == "testing":
            turn.registry.set_alias(registered.name, RETRAIN_ALIAS, registered.version)
        if registered and promoted:
            turn.move(registered)
    return registered


def _refusal(
    candidate: Scored, champion: Scored | None, turn: Turn, config: Config, decision: GateDecision
) -> DefectDetectionError | None:
    """Return why the gate's decision to promote cannot be carried out, or None."""
    if decision.outcome is not Outcome.PROMOTE:
        return None
    if too_late := stale(champion.reference if champion else None, turn.before):
        return StaleDecisionError(too_late)
    known = turn.registry.version_of_run(config.mlflow.production_model_name, candidate.reference.run_id)
    entry = withdrawn(turn.entries).get(known.version) if known else None
    if known is None or entry is None:
        return None
    return WithdrawnError(
        f"{known} was withdrawn from production by {entry.who} ({entry.why}), so an evaluation does not promote it again. "
        f"Use `defect promote {known.version} --reason …` to put it back, or train another model"
    )


def _register(
    candidate: Scored, report: Report, decision: GateDecision, registry: Registry, config: Config
) -> ModelRef:
    names = {"production": config.mlflow.production_model_name, "testing": config.mlflow.testing_model_name}
    metrics = candidate.metrics
    tags = {
        "test_accuracy": f"{metrics.accuracy.value:.4f}",
        "test_fingerprint": metrics.fingerprint,
        "test_correct": metrics.accuracy.brief,
        "test_escapes": metrics.escape.brief,
        "test_overkill": metrics.overkill.brief,
    }
    if report.evidence_remark:
        tags["evidence_remark"] = report.evidence_remark
    about = About(_ABOUT[decision.register_as], f"{candidate.reference}: {figures_of(metrics)}")
    return registry.promote_copy(candidate.reference, names[decision.register_as], tags, about=about)
