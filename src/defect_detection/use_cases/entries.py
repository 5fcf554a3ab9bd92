"""Write the content of a ledger entry: the decision, its figures and its report."""

from defect_detection.config import Config
from defect_detection.evaluation.gate import GateDecision, Outcome
from defect_detection.evaluation.metrics import Metrics
from defect_detection.files.unfinished import working_folder
from defect_detection.model.bundle import identity
from defect_detection.model.seal import digest
from defect_detection.tracking.ledger_entry import DecisionKind, Plan
from defect_detection.tracking.reading import ModelRef
from defect_detection.tracking.runs import TrialRecord
from defect_detection.use_cases.reporting import PreparedReport, report_numbers
from defect_detection.use_cases.scoring import Scored
from defect_detection.use_cases.turn import Turn, number_of


def plan_of(candidate: Scored, decision: GateDecision, turn: Turn, after: ModelRef | None) -> Plan:
    return Plan(
        number=turn.number,
        kind=DecisionKind.EVALUATION,
        outcome=decision.outcome,
        before=number_of(turn.before),
        after=number_of(after),
        candidate=str(candidate.reference),
        why="; ".join(decision.reasons),
        accuracy=candidate.metrics.accuracy.brief,
        escapes=candidate.metrics.escape.brief,
        test_fingerprint=candidate.metrics.fingerprint,
        gated=True,
        model=identity(candidate.inspector.card),
        sealed=digest((after or candidate.reference).seal),
    )


def plan_by_hand(kind: DecisionKind, target: ModelRef, turn: Turn, why: str, gated: bool = False) -> Plan:
    """The figures are those of the version's own evaluation."""
    return Plan(
        number=turn.number,
        kind=kind,
        outcome=Outcome.PROMOTE,
        before=number_of(turn.before),
        after=target.version,
        candidate=str(target),
        why=why,
        accuracy=target.tags.get("test_correct", ""),
        escapes=target.tags.get("test_escapes", ""),
        test_fingerprint=target.tags.get("test_fingerprint", ""),
        gated=gated,
        sealed=digest(target.seal),
    )


def params_of(candidate: Scored, champion: Scored | None, config: Config) -> dict[str, str | float]:
    return {
        "candidate": str(candidate.reference),
        "candidate_run_id": candidate.reference.run_id,
        "champion": str(champion.reference) if champion else "none",
        "test_fingerprint": candidate.metrics.fingerprint,
        "evaluation_threshold": config.evaluation_threshold,
    }


def log_evidence(
    entry: TrialRecord,
    prepared: PreparedReport,
    candidate: Scored,
    champion: Scored | None,
    decision: GateDecision,
    config: Config,
) -> None:
    """Log the subject of the decision and its evidence: the figures and the report."""
    metrics = candidate.metrics
    entry.dataset(
        "test",
        metrics.fingerprint,
        source=str(config.data.test_dir),
        images=metrics.n,
        defective=metrics.escape.total,
    )
    link_model(entry, candidate.reference)
    entry.metrics(
        _numbers(candidate.metrics, "test") | (_numbers(champion.metrics, "champion") if champion else {})
    )
    entry.metrics(report_numbers(prepared.report))
    entry.text("reasons.txt", "\n".join(decision.reasons) + "\n")
    with working_folder() as folder:
        prepared.write(folder)
        entry.folder("report", folder)


def _numbers(metrics: Metrics, prefix: str) -> dict[str, float]:
    """Return the figures that are known."""
    auroc, precision = metrics.auroc, metrics.average_precision
    values = {
        "accuracy": metrics.accuracy.value,
        "balanced_accuracy": metrics.balanced_accuracy,
        "escape_rate": metrics.escape.value if metrics.escape.total else None,
        "overkill_rate": metrics.overkill.value,
        "auroc": auroc.value if auroc else None,
        "average_precision": precision.value if precision else None,
        "brier": metrics.brier,
    }
    return {f"{prefix}_{name}": value for name, value in values.items() if value is not None}


def link_model(entry: TrialRecord, reference: ModelRef) -> None:
    """Show the model on the entry's page, and the entry on the model's. Versions of other programs may have no logged model."""
    if model_id := reference.tags.get("model_id"):
        entry.uses(model_id)


def figures_of(metrics: Metrics) -> str:
    """Return the figures of a model in one line, with their intervals."""
    return f"accuracy {metrics.accuracy}, escapes {metrics.escape}, overkill {metrics.overkill} on test"
