"""Evaluate the candidate on the held-out test split, decide, register, and move the aliases last."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from defect_detection.config import Config
from defect_detection.data.samples import Sample
from defect_detection.data.split import load_test
from defect_detection.errors import BusyError, NoModelError
from defect_detection.evaluation.gate import GateDecision, Improvement, Outcome
from defect_detection.model.bundle import identity, read_card, seen_in_training
from defect_detection.model.card import Card
from defect_detection.processes.watch import Watch, unwatched
from defect_detection.report.report import Report
from defect_detection.tracking.best_model import BestModelInfo
from defect_detection.tracking.lease import PROMOTIONS
from defect_detection.tracking.ledger import Ledger, decisions_before, repeated
from defect_detection.tracking.ledger_entry import LedgerEntry
from defect_detection.tracking.reading import ModelRef
from defect_detection.tracking.registry import Registry
from defect_detection.tracking.test_set_reuse import count_decisions, in_words
from defect_detection.use_cases.checks import leakage_notes, unlike_facts
from defect_detection.use_cases.drawn_defects import try_drawn_defects
from defect_detection.use_cases.judge import judge, small_test_note
from defect_detection.use_cases.manifest import manifest_of
from defect_detection.use_cases.parity import check_parity, deployed_forms, most_flips, parity_fact
from defect_detection.use_cases.promotion import record
from defect_detection.use_cases.reporting import make_report
from defect_detection.use_cases.scoring import Scored, score
from defect_detection.use_cases.turn import PRODUCTION_ALIAS, number_of


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation. `registered` is None when a model that did not pass wasn't to be registered.

    repeated: the number of the ledger's entry where the same was decided before; the ledger got no second one.
    """

    report: Report
    decision: GateDecision
    registered: ModelRef | None
    files: dict[str, Path]
    champion: ModelRef | None
    repeated: int | None = None


def evaluate(
    config: Config,
    watch: Watch = unwatched,
    *,
    register: Literal["always", "promoted"] = "always",
    improvement: Improvement = Improvement(),  # noqa: B008  frozen
    waits: bool = False,
) -> Evaluation:
    """Evaluate the model that ``best_model_info`` names, register it, and promote it if it passes the gate.

    The candidate and the champion are both scored now, on the same test images, each at its own threshold. The candidate becomes
    a version of ``mlflow.production_model_name`` when its accuracy reaches ``evaluation_threshold``, else of
    ``mlflow.testing_model_name``. Alias ``prod`` moves to it when the gate says PROMOTE; alias ``re-train`` to the newest
    testing version. The same decision about the same model, test images and champion is made once: a repeated evaluation shows it
    again, writes the report, and adds nothing to the ledger.

    Args:
        register: "promoted" registers only a candidate that passes.
        improvement: what better than the champion means.
        waits: a candidate that passes is registered, and a person promotes it later: its outcome is PASSED.

    Raises:
        NoModelError: nothing was trained yet.
        DataError: the test folder can't be used; LeakageError: the candidate was trained on one of its images.
        BusyError: another evaluation is running here. StaleDecisionError: another promotion came first.
        WithdrawnError: production was rolled back from this candidate.
        TrackingError: MLflow can't be reached; no alias was moved.
    """
    try:
        with FileLock(config.root / ".promotion.lock", timeout=0):
            return _evaluate(config, watch, register, improvement, waits)
    except Timeout as error:
        raise BusyError.of("an evaluation", config.root) from error


def _evaluate(
    config: Config,
    watch: Watch,
    register: Literal["always", "promoted"],
    improvement: Improvement,
    waits: bool,
) -> Evaluation:
    registry = Registry(config.tracking_uri)
    source = _trained(config, registry)
    framing = read_card(registry.bundle_of(source, config.cache_dir)).frame
    samples, skipped = load_test(config, framing=framing)
    watch("evaluating", "candidate", 0, len(samples))
    candidate = score(source, registry, samples, config)
    leaks = leakage_notes(candidate, samples, config.data.allow_leakage)
    watch("evaluating", "candidate", len(samples), len(samples))
    parity = check_parity(candidate.bundle, deployed_forms(config), candidate.inspector)
    judging = _Judging(candidate, registry, samples, config, improvement, most_flips(parity))
    champion, decision, same = judging.decide()
    if waits and same is None and decision.outcome is Outcome.PROMOTE:
        decision = decision.waiting()
    notes = [f"{len(skipped)} test files could not be read and were left out"] if skipped else []
    notes += [*leaks, *_champion_note(champion, samples), *small_test_note(samples, config)]
    worn = in_words(decision.test_set_decisions, config.evaluation.max_decisions_per_test_set)
    facts = [
        *unlike_facts(candidate, samples, config),
        parity_fact(parity),
        ("Decided before", worn),
        ("Trunk", _trunk_in_words(candidate.inspector.card)),
    ]
    watch("evaluating", "report", 0, 1)
    drawn = try_drawn_defects(candidate, samples, config)
    prepared = make_report(
        candidate,
        champion,
        decision,
        samples,
        config,
        facts=facts,
        notes=notes,
        drawn=drawn,
        manifest=manifest_of(source, registry, config),
    )
    watch("evaluating", "report", 1, 1)
    decision = prepared.report.decision or decision
    if same and same.after is not None:
        prepared.publish()
        registered = judging.production
    else:
        registered = record(
            prepared, candidate, champion, decision, registry, config, register, judging.earlier
        )
    return Evaluation(
        prepared.report,
        decision,
        registered,
        prepared.files,
        champion.reference if champion else None,
        same.number if same else None,
    )


def _trained(config: Config, registry: Registry) -> ModelRef:
    """Return the version that training has chosen."""
    info = BestModelInfo.read(config.best_model_info, config.option)
    source = registry.version_of_run(config.mlflow.registered_model_name, info.run_id)
    if source is None:
        raise NoModelError(
            f"{config.best_model_info}: run {info.run_id} has no version of {config.mlflow.registered_model_name} in this registry; "
            "run `defect train` with the same MLFLOW_TRACKING_URI"
        )
    return source


class _Judging:
    """Decides about a candidate; an earlier decision is repeated with its champion and its count of test-set reuse."""

    def __init__(
        self,
        candidate: Scored,
        registry: Registry,
        samples: Sequence[Sample],
        config: Config,
        improvement: Improvement,
        parity_flips: int,
    ) -> None:
        self._candidate, self._registry = candidate, registry
        self._samples, self._config = samples, config
        self._improvement, self._parity_flips = improvement, parity_flips
        self._ledger = Ledger(config.tracking_uri, config.named(PROMOTIONS)).entries()
        self.production = registry.version_of(config.mlflow.production_model_name, PRODUCTION_ALIAS)
        self.earlier = self._find_earlier()

    def decide(self) -> tuple[Scored | None, GateDecision, LedgerEntry | None]:
        """Return the champion, the decision, and the entry of the ledger that decided the same, if there is one."""
        champion, decision = self._judged(self.earlier)
        if self.earlier is None or decision.outcome == self.earlier.outcome:
            return champion, decision, self.earlier
        return *self._judged(None), None  # decided with other settings, or it was not carried out

    def _judged(self, earlier: LedgerEntry | None) -> tuple[Scored | None, GateDecision]:
        candidate, samples, config = self._candidate, self._samples, self._config
        reference = self._champion(earlier)
        champion = score(reference, self._registry, samples, config) if reference else None
        if earlier:
            decided = decisions_before(self._ledger, earlier)
        else:
            decided = count_decisions(
                config.tracking_uri, config.named(PROMOTIONS), candidate.metrics.fingerprint
            )
        return champion, judge(
            candidate, champion, samples, config, self._improvement, self._parity_flips, decided
        )

    def _find_earlier(self) -> LedgerEntry | None:
        """Return the entry where the same was decided before, if there is one that can be decided again."""
        candidate, production = self._candidate, self.production
        model, fingerprint = identity(candidate.inspector.card), candidate.metrics.fingerprint
        found = repeated(self._ledger, model, fingerprint, number_of(production))
        if found is None or found.after is None or production is None:
            return found
        if production.run_id != candidate.reference.run_id:
            return None  # the same weights from another training: compare with the model in production
        gone = found.before is not None and self._registry.version(production.name, found.before) is None
        return None if gone else found

    def _champion(self, earlier: LedgerEntry | None) -> ModelRef | None:
        """Return the model to compare with: the champion, or its predecessor if the candidate is in production already."""
        production = self.production
        if earlier is None or earlier.after is None or production is None:
            return production
        return self._registry.version(production.name, earlier.before) if earlier.before is not None else None


def _trunk_in_words(card: Card) -> str:
    licence = f"; licence: {card.weights_licence}" if card.weights_licence else ""
    return f"{card.trunk}, weights: {card.weights or 'from this training'}{licence}"


def _champion_note(champion: Scored | None, samples: Sequence[Sample]) -> list[str]:
    if champion is None:
        return []
    seen = seen_in_training(champion.bundle, (sample.sha256 for sample in samples))
    return (
        [f"The champion was trained on {len(seen)} of these test images, so its figures are too good"]
        if seen
        else []
    )
