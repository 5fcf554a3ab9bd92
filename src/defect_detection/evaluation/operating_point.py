"""Choose the decision threshold and the review band."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from .claims import PartScores, RateClaim, allowed_errors
from .logits import expit, logit
from .metrics import checked
from .parts import numbered, rate_of
from .plateaus import HIGHEST_CUT, HIGHEST_LOGIT, cuts_of, middle_of_plateau, share_from, widest
from .rates import Frozen, Rate

ThresholdRule = Literal["balanced", "max_escape_rate", "costs", "fixed", "max_overkill_rate"]
_REASONS = {
    "balanced": "lowest sum of escape rate and overkill rate",
    "max_escape_rate": "least overkill for which the escape rate is shown to be within its limit",
    "fixed": "fixed by the settings",
}
_ABOVE_ALL = "above all OK images, with a margin because there are too few of them to show the limit"
_TAIL = 0.5  # standard deviations of the logits in which the tail of the OK images falls by e; a normal one falls faster
_UNSURE = 8.0  # images: of so many, the standard deviation itself counts twice, since it is a guess
_NORMAL_QUARTILES = 1.349  # standard deviations between the quartiles of a normal distribution
_LEAST_SPREAD = 0.5  # in logits: OK images that are all alike say little of the next one
_STRICTEST = "no defective image of this split passes; there are too few images to show the limit"


class OperatingPoint(Frozen):
    """A threshold, its rule, and its two error rates on the split that it was chosen on.

    escape, overkill: None for models of the earliest versions, and where there was no such image. reason: why this threshold was
    chosen. claims: the required limits (on a card, also those of the review band), and whether the split shows them.
    """

    threshold: float
    rule: ThresholdRule
    escape: Rate | None
    overkill: Rate | None
    split: str = "validation"
    reason: str = ""
    claims: tuple[RateClaim, ...] = ()


class Costs(Frozen):
    """What a missed defective part and a rejected OK part cost, in the same unit, each above 0."""

    escape: float
    overkill: float


class ReviewBand(Frozen):
    """The scores that a person decides: ``low <= score < high``. Empty when both are the threshold.

    claims: about the parts below and above, where the band was asked for by bounds on both error rates.
    """

    low: float
    high: float
    claims: tuple[RateClaim, ...] = ()

    @property
    def is_empty(self) -> bool:
        return self.low >= self.high

    def holds(self, scores: np.ndarray | float) -> Any:
        """Say of a score, or of each score of an array, whether a person decides."""
        return (scores >= self.low) & (scores < self.high)


def choose_threshold(
    scores: np.ndarray,
    labels: np.ndarray,
    rule: ThresholdRule = "balanced",
    *,
    max_escape_rate: float | None = None,
    max_overkill_rate: float | None = None,
    threshold: float | None = None,
    costs: Costs | None = None,
    defect_rate: float = 0.01,
    confidence: float = 0.95,
    parts: Sequence[str] | None = None,
    split: str = "validation",
    within: tuple[float, float] = (0.0, 1.0),
    odd: np.ndarray | None = None,
) -> OperatingPoint:
    """Return the operating point that `rule` asks for.

    An image is defective when ``score >= threshold``. Pass validation scores: a threshold chosen on the test
    split makes the test report optimistic. Any threshold between two neighbouring scores has the same rates:
    the middle of that plateau (in logits) is taken, so that tiny differences between runtimes flip nothing.

    Args:
        scores: float array of shape (n_images,), P(defective) in [0, 1].
        labels: int array of shape (n_images,), 1 = defective, 0 = OK.
        rule: ``balanced``: highest mean of (1 − escape) and (1 − overkill); of equal ones the widest plateau.
            ``max_escape_rate``: least overkill with an escape rate that is shown to be within `max_escape_rate`; where the
            split has too few defective parts for that, the highest threshold that none of them passes.
            ``costs``: least expected cost of a part of the line; of equal ones the widest plateau.
            ``fixed``: `threshold` as it is.
            ``max_overkill_rate``: the lowest threshold at which overkill is shown to be within `max_overkill_rate`; with too few OK
            parts for that, above all of them. Defective images have no part in it, and there may be none.
        max_escape_rate: accepted escapes / all defectives, in [0, 1).
        max_overkill_rate: rejected OK / all OK, in (0, 1).
        threshold: in [0, 1].
        defect_rate: defective parts / all parts on the line, for ``costs``; the split's own share says nothing of it.
        confidence: of the intervals of both rates, and of the claim.
        parts: name of each image's part ("" = its own part): claim and intervals count parts.
        split: how the images are called in texts.
        within: bounds of a ``balanced`` threshold.
        odd: bool (n_images,), OK images that may be defective: they do not raise a threshold by ``max_overkill_rate``, but they count
            in its rates and in its claim.

    Raises:
        ValueError: `labels` lacks OK images, or defective ones which the rule needs (``fixed`` and ``max_overkill_rate`` do not), or
            the rule's own setting is missing or wrong.
    """
    scores, labels = checked(
        scores, labels, needed=(0,) if rule in ("max_overkill_rate", "fixed") else (0, 1)
    )
    claims: tuple[RateClaim, ...] = ()
    reason = _REASONS.get(rule, "")
    if rule == "balanced":
        chosen = float(np.clip(_balanced(scores, labels), *within))
    elif rule == "max_escape_rate":
        counted = PartScores.of("escape", scores, labels, parts)
        limit = _fraction("max_escape_rate", max_escape_rate)
        chosen = counted.edge(scores, limit, confidence)
        claims = (counted.claim(chosen, limit, confidence, split),)
        reason = reason if claims[0].met else _STRICTEST
    elif rule == "max_overkill_rate":
        counted = PartScores.of("overkill", scores, labels, parts)
        limit = _fraction("max_overkill_rate", max_overkill_rate or None)
        usual = counted if odd is None else PartScores.of("overkill", scores, labels, parts, ~odd)
        chosen = _above_ok(usual.scores, limit, confidence)
        claims = (counted.claim(chosen, limit, confidence, split),)
        reason = (
            "lowest threshold for which overkill is shown to be within its limit"
            if claims[0].met
            else _ABOVE_ALL
        )
        if odd is not None and odd.any():
            reason += f"; it ignores {odd.sum()} OK images that are far more novel than the others and may be defective"
    elif rule == "costs":
        chosen, reason = _cheapest(scores, labels, costs, defect_rate)
    else:
        chosen = _fixed(threshold)
    wrong, part = (scores >= chosen) != labels, numbered(parts, len(labels))
    return OperatingPoint(
        threshold=chosen,
        rule=rule,
        escape=rate_of(wrong[labels == 1], part[labels == 1], confidence) if labels.any() else None,
        overkill=rate_of(wrong[labels == 0], part[labels == 0], confidence),
        split=split,
        reason=reason,
        claims=claims,
    )


def _above_ok(scores: np.ndarray, limit: float, confidence: float) -> float:
    """Return the threshold of the OK parts alone: the order statistic of Wilks (`claims`), half-way to the next higher part.

    Nothing lies above the highest part, so the threshold keeps a distance from it. The distance grows where the parts are too few to
    show the limit: at a tail that falls exponentially, the share `limit` of OK parts lies above the threshold.
    """
    found = usual_limit(logit(scores), limit, confidence)
    if found < HIGHEST_LOGIT:
        return float(np.float32(expit(found)))
    highest = float(np.float32(expit(HIGHEST_LOGIT)))
    return highest if scores.max() < highest else HIGHEST_CUT


def usual_limit(values: np.ndarray, limit: float, confidence: float) -> float:
    """Return what the share `limit` of OK parts may exceed, as `_above_ok` says; values are logits, or in standard deviations."""
    ranked, n = np.sort(values), len(values)
    last = ranked[-1 - (allowed_errors(limit, n, confidence) or 0)]
    higher = ranked[ranked > last]
    if len(higher):
        return float((last + higher[0]) / 2)
    # A stray image does not move the quartiles, unlike the standard deviation.
    quartiles = np.quantile(ranked, [0.25, 0.75])
    spread = float(quartiles[1] - quartiles[0]) / _NORMAL_QUARTILES
    scale = _TAIL * max(spread, _LEAST_SPREAD) * (1 + _UNSURE / n)
    return float(ranked[-1] + scale * (_TAIL + max(0.0, float(-np.log(limit * (n + 1))))))


def _balanced(scores: np.ndarray, labels: np.ndarray) -> float:
    cuts = cuts_of(scores)
    caught, rejected = _caught_and_rejected(scores, labels, cuts)
    balanced = (caught + 1 - rejected) / 2
    best = np.flatnonzero(balanced >= balanced.max() - 1e-12)
    return middle_of_plateau(cuts, widest(cuts, best))


def _cheapest(
    scores: np.ndarray, labels: np.ndarray, costs: Costs | None, defect_rate: float
) -> tuple[float, str]:
    """Return the threshold with the least expected cost per part of the line, and the costs in words."""
    if costs is None or min(costs.escape, costs.overkill) <= 0:
        raise ValueError(f"costs: expected escape and overkill, each above 0, received {costs}")
    cuts = cuts_of(scores)
    caught, rejected = _caught_and_rejected(scores, labels, cuts)
    passing_all, rejecting_all = defect_rate * costs.escape, (1 - defect_rate) * costs.overkill
    cost = (1 - caught) * passing_all + rejected * rejecting_all
    best = widest(cuts, np.flatnonzero(cost <= cost.min() + 1e-12 * (passing_all + rejecting_all)))
    reason = (
        f"an expected cost of {cost[best]:.3g} per part, the lowest with {100 * defect_rate:g} % defective parts, "
        f"{costs.escape:g} for an escape and {costs.overkill:g} for a false reject; passing every part would cost "
        f"{passing_all:.3g}, rejecting every part {rejecting_all:.3g}"
    )
    return middle_of_plateau(cuts, best), reason


def _caught_and_rejected(
    scores: np.ndarray, labels: np.ndarray, cuts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of the defective and of the OK images that each cut calls defective."""
    return share_from(scores[labels == 1], cuts), share_from(scores[labels == 0], cuts)


def _fraction(name: str, value: float | None) -> float:
    if value is None or not 0 <= value < 1:
        raise ValueError(f"{name}: expected a fraction, 0 <= x < 1, received {value}")
    return value


def _fixed(threshold: float | None) -> float:
    if threshold is None or not 0 <= threshold <= 1:
        raise ValueError(f"threshold: expected a number from 0 to 1, received {threshold}")
    return float(threshold)
