"""Whether a candidate replaces the champion: a pure function from two results to a decision with reasons."""

from enum import StrEnum
from typing import Literal

from .metrics import Metrics
from .rates import Frozen, Rate, percent


class Outcome(StrEnum):
    PROMOTE = "promote"
    HOLD = "hold"


class Decision(Frozen):
    """What happens to a candidate: where it is registered, whether it goes to production, and why."""

    outcome: Outcome
    register_as: Literal["production", "testing"]
    reasons: tuple[str, ...]


def decide(
    candidate: Metrics, champion: Metrics | None, *, accuracy_threshold: float, parity_flips: int
) -> Decision:
    """Decide from the two models' figures on the same frozen split.

    The candidate is promoted when its accuracy meets the threshold and is strictly higher than the champion's
    (an equal one changes nothing), and its exported forms give the same verdicts. The threshold alone decides
    where it is registered.

    Args:
        champion: re-scored on the candidate's split, never read from old figures; None when there is none.
        accuracy_threshold: least accuracy for production, in [0, 1].
        parity_flips: golden images whose verdict differs between Keras and an exported form.

    Raises:
        ValueError: the two results are of different data, or it is not known that they are of the same.
    """
    if champion is not None:
        _require_same_data(candidate, champion)
    rules = [_meets_threshold(candidate.accuracy, accuracy_threshold), _beats(candidate, champion)]
    if parity_flips:
        rules.append((False, f"{parity_flips} golden image(s) get another verdict from an exported form"))
    promote = all(met for met, _ in rules)
    reasons = [reason for _, reason in rules] + _remarks(candidate, champion)
    return Decision(
        outcome=Outcome.PROMOTE if promote else Outcome.HOLD,
        register_as="production" if rules[0][0] else "testing",
        reasons=tuple(reasons),
    )


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


def _beats(candidate: Metrics, champion: Metrics | None) -> tuple[bool, str]:
    if champion is None:
        return True, "There is no model in production to compare with"
    ours, theirs = candidate.accuracy, champion.accuracy
    compared = f"{_brief(ours)} against {_brief(theirs)}"
    if ours.value == theirs.value:
        return False, f"Accuracy equals the champion's, {compared}: the champion stays"
    better = ours.value > theirs.value
    return better, f"Accuracy is {'higher' if better else 'lower'} than the champion's: {compared}"


def _remarks(candidate: Metrics, champion: Metrics | None) -> list[str]:
    """Return what a reader should know although no rule asks for it."""
    if champion is None or candidate.escape.value <= champion.escape.value:
        return []
    ours, theirs = _brief(candidate.escape), _brief(champion.escape)
    return [f"It lets more defective parts pass than the champion: {ours} against {theirs}"]


def _brief(rate: Rate) -> str:
    return f"{rate.count}/{rate.total} ({percent(rate.value)} %)"
