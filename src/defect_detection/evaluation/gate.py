"""Whether a candidate replaces the champion: a pure function from two results to a decision with reasons."""

from enum import StrEnum
from typing import Literal

from .metrics import Metrics
from .rates import Frozen, Rate, percent

_ROUNDING = 1e-9  # .95 - .90 is a little more than .05


class Outcome(StrEnum):
    PROMOTE = "promote"
    HOLD = "hold"


class Improvement(Frozen):
    """What better than the champion means: `metric` must be higher by more than `more_than`, a fraction."""

    metric: Literal["accuracy", "balanced_accuracy", "auroc"] = "accuracy"
    more_than: float = 0.0


class Decision(Frozen):
    """What happens to a candidate: where it is registered, whether it goes to production, and why."""

    outcome: Outcome
    register_as: Literal["production", "testing"]
    reasons: tuple[str, ...]


def decide(
    candidate: Metrics,
    champion: Metrics | None,
    *,
    accuracy_threshold: float,
    parity_flips: int,
    improvement: Improvement = Improvement(),  # noqa: B008  frozen
) -> Decision:
    """Decide from the two models' figures on the same frozen split.

    The candidate is promoted when its accuracy meets the threshold, it is better than the champion (an equal one
    changes nothing), and its exported forms give the same verdicts. The threshold alone decides
    where it is registered.

    Args:
        champion: re-scored on the candidate's split, never read from old figures; None when there is none.
        accuracy_threshold: least accuracy for production, in [0, 1].
        parity_flips: golden images that a deployed form gives another verdict than Keras, or a score too far off.
        improvement: what better means; strictly higher accuracy when not given.

    Raises:
        ValueError: the two results are of different data, or it is not known that they are of the same.
    """
    first = (True, "There is no model in production to compare with")
    beats = compare(candidate, champion, improvement) if champion else first
    rules = [_meets_threshold(candidate.accuracy, accuracy_threshold), beats]
    if parity_flips:
        rules.append(
            (
                False,
                f"{parity_flips} golden image(s) get another verdict, or a score too far off, from a deployed form",
            )
        )
    promote = all(met for met, _ in rules)
    reasons = [reason for _, reason in rules] + _remarks(candidate, champion)
    return Decision(
        outcome=Outcome.PROMOTE if promote else Outcome.HOLD,
        register_as="production" if rules[0][0] else "testing",
        reasons=tuple(reasons),
    )


def compare(
    candidate: Metrics,
    champion: Metrics,
    improvement: Improvement = Improvement(),  # noqa: B008  frozen
) -> tuple[bool, str]:
    """Say whether the candidate is better on the same split, and both figures in words.

    Raises:
        ValueError: as :func:`decide`.
    """
    _require_same_data(candidate, champion)
    name, ours, theirs = _named(candidate, champion, improvement)
    gain = _value(candidate, improvement) - _value(champion, improvement)
    if gain == 0:
        return False, f"{name} equals the champion's, {ours} against {theirs}: the champion stays"
    if gain < 0:
        return False, f"{name} is lower than the champion's: {ours} against {theirs}"
    if gain <= improvement.more_than + _ROUNDING and improvement.more_than:
        asked = f"more than {percent(improvement.more_than)} % is asked for"
        return False, f"{name} is higher than the champion's by too little: {ours} against {theirs}; {asked}"
    return True, f"{name} is higher than the champion's: {ours} against {theirs}"


def _value(metrics: Metrics, improvement: Improvement) -> float:
    value = getattr(metrics, improvement.metric)
    return float(value if improvement.metric == "balanced_accuracy" else value.value)


def _named(candidate: Metrics, champion: Metrics, improvement: Improvement) -> tuple[str, str, str]:
    """Return the metric's name and both values in words: accuracy as a fraction."""
    if improvement.metric == "accuracy":
        return "Accuracy", _brief(candidate.accuracy), _brief(champion.accuracy)
    if improvement.metric == "auroc":
        return "AUROC", f"{candidate.auroc.value:.4f}", f"{champion.auroc.value:.4f}"
    ours, theirs = candidate.balanced_accuracy, champion.balanced_accuracy
    return "Balanced accuracy", f"{percent(ours)} %", f"{percent(theirs)} %"


def _require_same_data(candidate: Metrics, champion: Metrics) -> None:
    if not candidate.fingerprint or candidate.fingerprint != champion.fingerprint:
        raise ValueError(
            "candidate and champion must be scored on the same data: fingerprint "
            f"{candidate.fingerprint or 'unknown'!r} against {champion.fingerprint or 'unknown'!r}. "
            "Score the champion again on the candidate's split."
        )


def _meets_threshold(accuracy: Rate, threshold: float) -> tuple[bool, str]:
    met = accuracy.value >= threshold
    verb = "meets" if met else "is below"
    return met, f"Accuracy {_brief(accuracy)} {verb} the required {percent(threshold)} %"


def _remarks(candidate: Metrics, champion: Metrics | None) -> list[str]:
    """Return what a reader should know although no rule asks for it."""
    if champion is None or candidate.escape.value <= champion.escape.value:
        return []
    ours, theirs = _brief(candidate.escape), _brief(champion.escape)
    return [f"It lets more defective parts pass than the champion: {ours} against {theirs}"]


def _brief(rate: Rate) -> str:
    return f"{rate.count}/{rate.total} ({percent(rate.value)} %)"
