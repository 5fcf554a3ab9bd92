"""Decide whether a candidate replaces the champion: a pure function of two results, with reasons."""

from collections.abc import Sequence
from typing import Literal

from . import guards
from .metrics import Metrics
from .paired import Pairs
from .policy import GUARDS, Check, GatePolicy, Improvement, Outcome, Rule
from .rates import Frozen, Rate, percent

__all__ = ["Check", "GateDecision", "GatePolicy", "Improvement", "Outcome", "Rule", "compare", "decide"]

REFUSED = "carried out"  # name of the rule that holds when the gate itself said PROMOTE
_MORE_TO_TELL = (
    "add test images of what the new model has learned: the present ones do not distinguish the two models"
)
_SOME_DEFECTIVE = "add defective parts to the test images"
_ROUNDING = 1e-9  # .95 - .90 is a little more than .05
HELPS = {  # what would let the next model pass, by the rule that this one did not
    "threshold": "look at the worst images in the report: correct wrong labels, and add training images that look like them",
    "better": "add training images of the parts that the report shows as wrong",
    "worse": "check the labels of the newest training images, and add more images",
    "escapes": "add training images of the defects that only the model in production catches",
    "slices": "add training images of these defect types",
    "types": "add training images of these defect types, with their type",
    "gain": "add test images: with more of them, a small lead can be shown",
    "challenge": "add training images that look like the missed images of the challenge folder",
}
_GUARDS = {"escapes": guards.escapes, "slices": guards.slices, "gain": guards.gain}


class GateDecision(Frozen):
    """The gate's decision about a candidate: its registered model, its outcome and the reasons.

    rules: each question with its own outcome. test_set_decisions: which decision on these test images it is, from 1 on.
    """

    outcome: Outcome
    register_as: Literal["production", "testing"]
    reasons: tuple[str, ...]
    rules: tuple[Rule, ...] = ()
    test_set_decisions: int = 1

    def refused(self, why: str) -> "GateDecision":
        """Turn a decision to promote that failed into HOLD, with the reason of the failure first."""
        rule = Rule(name=REFUSED, outcome=Outcome.HOLD, reason=why)
        update = {"outcome": Outcome.HOLD, "reasons": (why, *self.reasons), "rules": (*self.rules, rule)}
        return self.model_copy(update=update)

    def waiting(self) -> "GateDecision":
        """Turn a decision to promote into one that a person carries out later."""
        remark = "It waits until a person promotes it"
        return self.model_copy(update={"outcome": Outcome.PASSED, "reasons": (*self.reasons, remark)})

    def remarked(self, remark: str) -> "GateDecision":
        """Add remarks that do not affect the decision."""
        return self.model_copy(update={"reasons": (*self.reasons, remark)})

    @property
    def helps(self) -> tuple[str, ...]:
        """Return what would let the next model pass, one text for each rule that did not let this one pass."""
        failed = [rule for rule in self.rules if rule.outcome is not Outcome.PROMOTE]
        return tuple(filter(None, (rule.helps or HELPS.get(rule.name, "") for rule in failed)))

    @property
    def was_refused(self) -> bool:
        return any(rule.name == REFUSED for rule in self.rules)


def decide(
    candidate: Metrics,
    champion: Metrics | None,
    policy: GatePolicy,
    *,
    pairs: Pairs | None = None,
    parity_flips: int = 0,
    checks: Sequence[Check] = (),
    test_set_decisions: int = 1,
) -> GateDecision:
    """Decide from the two models' results on the same frozen split.

    The basic rule: accuracy meets the threshold, and is higher than the champion's (an equal one changes nothing). Without a
    defective test image, overkill within its limit takes the place of the accuracy that is required. On top
    come the guards that `policy` names. One rule that says HOLD holds; else one that lacks evidence makes the
    outcome INSUFFICIENT; else the candidate is promoted. The threshold alone decides where it is registered.

    Args:
        champion: re-scored on the candidate's split, never read from old figures; None when there is none.
        pairs: both models' verdicts on that split; needed where there is a champion.
        parity_flips: golden images that a deployed form gives another verdict than Keras, or a score too far off.
        checks: what else was found out about the candidate; one whose name `policy.guards` lacks is left out.

    Raises:
        ValueError: the two results are of different data, or it is not known that they are of the same.
    """
    threshold = _meets_threshold(candidate, policy)
    checks = [*_parity(parity_flips), *checks]
    asked = [check for check in checks if check.name in policy.guards]
    rules = [
        threshold,
        *compare(candidate, champion, policy, pairs),
        *(_rule(c) for c in asked if c.passed is not None),
    ]
    said = [rule.reason for rule in rules] + [check.text for check in asked if check.passed is None]
    return GateDecision(
        outcome=Outcome.of([rule.outcome for rule in rules]),
        register_as="production" if threshold.outcome is Outcome.PROMOTE else "testing",
        reasons=(*said, *_remarks(candidate, champion, policy, pairs)),
        rules=tuple(rules),
        test_set_decisions=test_set_decisions,
    )


def compare(
    candidate: Metrics, champion: Metrics | None, policy: GatePolicy, pairs: Pairs | None = None
) -> list[Rule]:
    """Compare both models: is the candidate better, and does it pass the guards of `policy`?

    Raises:
        ValueError: as :func:`decide`.
    """
    if champion is None:
        return [
            _rule(Check(name="better", passed=True, text="There is no model in production to compare with"))
        ]
    _require_same_data(candidate, champion)
    _require_same_verdicts(candidate, champion, pairs)
    rules = [_better(candidate, champion, policy.improvement)]
    asked = [name for name in _GUARDS if name in policy.guards]
    if asked and pairs is None:
        raise ValueError(f"the guards {', '.join(asked)} need both models' verdicts: pass `pairs`")
    return rules + [_GUARDS[name](pairs, policy) for name in asked if pairs is not None]


def screen(pairs: Pairs, policy: GatePolicy) -> list[Rule]:
    """Hold a candidate on validation only if it is significantly worse. Otherwise the test split decides.

    Few images leave most questions open. To ask for a better figure here would hold back half of the equal candidates, and many
    better ones.
    """
    asked = [_GUARDS[name](pairs, policy) for name in ("escapes", "slices") if name in policy.guards]
    return [guards.worse(pairs, policy), *asked]


def _better(candidate: Metrics, champion: Metrics, improvement: Improvement) -> Rule:
    values = _value(candidate, improvement), _value(champion, improvement)
    if values[0] is None or values[1] is None:
        name = improvement.metric.replace("_", " ")
        reason = (
            f"Without defective test images {name} is unknown, so nothing shows that the candidate is better"
        )
        return Rule(name="better", outcome=Outcome.INSUFFICIENT, reason=reason, helps=_SOME_DEFECTIVE)
    name, ours, theirs = _named(candidate, champion, improvement)
    gain = values[0] - values[1]
    too_little = improvement.more_than and gain <= improvement.more_than + _ROUNDING
    if gain == 0:
        text = f"{name} equals the champion's, {ours} against {theirs}: the champion stays"
    elif gain < 0:
        text = f"{name} is lower than the champion's: {ours} against {theirs}"
    elif too_little:
        asked = f"more than {percent(improvement.more_than)} % is required"
        text = f"{name} exceeds the champion's by too little: {ours} against {theirs}; {asked}"
    else:
        text = f"{name} is higher than the champion's: {ours} against {theirs}"
    rule = _rule(Check(name="better", passed=gain > 0 and not too_little, text=text))
    return rule if gain else rule.model_copy(update={"helps": _MORE_TO_TELL})


def _value(metrics: Metrics, improvement: Improvement) -> float | None:
    """Return the figure that must be higher; None where it is unknown."""
    if improvement.metric == "balanced_accuracy":
        return metrics.balanced_accuracy
    value = metrics.accuracy if improvement.metric == "accuracy" else metrics.auroc
    return None if value is None else value.value


def _named(candidate: Metrics, champion: Metrics, improvement: Improvement) -> tuple[str, str, str]:
    """Return the metric's name and both values in words: accuracy as a fraction."""
    if improvement.metric == "accuracy":
        return "Accuracy", candidate.accuracy.brief, champion.accuracy.brief
    ours, theirs = (_value(metrics, improvement) or 0.0 for metrics in (candidate, champion))
    if improvement.metric == "auroc":
        return "AUROC", f"{ours:.4f}", f"{theirs:.4f}"
    return "Balanced accuracy", f"{percent(ours)} %", f"{percent(theirs)} %"


def _require_same_data(candidate: Metrics, champion: Metrics) -> None:
    if not candidate.fingerprint or candidate.fingerprint != champion.fingerprint:
        raise ValueError(
            "candidate and champion must be scored on the same data, received the fingerprints "
            f"{candidate.fingerprint or 'unknown'!r} against {champion.fingerprint or 'unknown'!r}. Score the champion "
            "again on the candidate's split."
        )


def _require_same_verdicts(candidate: Metrics, champion: Metrics, pairs: Pairs | None) -> None:
    if pairs is None:
        return
    for metrics, called in ((candidate, pairs.candidate), (champion, pairs.champion)):
        counts = int((called & (pairs.labels == 1)).sum()), int((called & (pairs.labels == 0)).sum())
        if (metrics.n, metrics.tp, metrics.fp) != (len(called), *counts):
            raise ValueError(
                "pairs: expected the verdicts that the figures were computed from, received others"
            )


def _meets_threshold(candidate: Metrics, policy: GatePolicy) -> Rule:
    if not candidate.escape.total:
        return _overkill_within(candidate.overkill, policy.max_overkill_rate)
    accuracy, threshold = candidate.accuracy, policy.accuracy_threshold
    met = accuracy.value >= threshold
    verb = "meets" if met else "is below"
    text = f"Accuracy {accuracy.brief} {verb} the required {percent(threshold)} %"
    return _rule(Check(name="threshold", passed=met, text=text))


def _overkill_within(overkill: Rate, limit: float) -> Rule:
    """Hold when all of the interval of overkill lies above the limit: without defective images accuracy is only overkill."""
    met = overkill.low <= limit
    verb = "is not significantly above" if met else "is significantly above"
    text = (
        f"No defective test image, so overkill decides instead of accuracy: {overkill.brief} {verb} "
        f"evaluation.operating_point.max_overkill_rate ({percent(limit)} %); escapes are unknown"
    )
    helps = (
        "add OK training images that look like the rejected test images, or raise the limit max_overkill_rate"
    )
    return _rule(Check(name="threshold", passed=met, text=text)).model_copy(update={"helps": helps})


def _parity(flips: int) -> list[Check]:
    text = f"{flips} golden image(s) get a different verdict, or a score that differs too much, in a deployed form"
    return [Check(name="parity", passed=False, text=text)] if flips else []


def _rule(check: Check) -> Rule:
    return Rule(name=check.name, outcome=Outcome.PROMOTE if check.passed else Outcome.HOLD, reason=check.text)


def _remarks(
    candidate: Metrics, champion: Metrics | None, policy: GatePolicy, pairs: Pairs | None
) -> list[str]:
    """Return remarks for the reader that do not affect the decision."""
    remarks = []
    if champion and pairs and "gain" not in policy.guards:
        remarks.append(guards.in_words(pairs))
    if champion and candidate.escape.value > champion.escape.value:
        ours, theirs = candidate.escape.brief, champion.escape.brief
        remarks.append(f"It misses more defective parts than the champion: {ours} against {theirs}")
    if off := [name for name in GUARDS if name not in policy.guards]:
        remarks.append(f"Switched off by evaluation.gate.guards: {', '.join(off)}")
    return remarks
