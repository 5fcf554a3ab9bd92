"""Where the line between OK and defective is drawn, and what falls between the chairs."""

from typing import Literal

import numpy as np

from .metrics import checked
from .rates import Frozen, Rate

Rule = Literal["balanced", "max_escape_rate", "fixed"]
LOGIT_LIMIT = 1e-7  # scores nearer to 0 or 1 than this count as that far


class OperatingPoint(Frozen):
    """A threshold, the rule behind it, and its two error rates on the split that it was chosen on."""

    threshold: float
    rule: Rule
    escape: Rate
    overkill: Rate
    split: str = "validation"


class ReviewBand(Frozen):
    """The scores that a person decides: ``low <= score < high``. Empty when both are the threshold."""

    low: float
    high: float

    @property
    def is_empty(self) -> bool:
        return self.low >= self.high


def choose_threshold(
    scores: np.ndarray,
    labels: np.ndarray,
    rule: Rule = "balanced",
    *,
    max_escape_rate: float | None = None,
    threshold: float | None = None,
    confidence: float = 0.95,
) -> OperatingPoint:
    """Return the operating point that `rule` asks for.

    An image is defective when ``score >= threshold``. Pass validation scores: a threshold chosen on the test
    split makes the test report optimistic. Any threshold between two neighbouring scores has the same rates:
    the middle of that plateau (in logits) is taken, so that tiny differences between runtimes flip nothing.

    Args:
        scores: float array of shape (n_images,), P(defective) in [0, 1].
        labels: int array of shape (n_images,), 1 = defective, 0 = OK.
        rule: ``balanced``: highest mean of (1 − escape) and (1 − overkill); of equal ones the widest plateau.
            ``max_escape_rate``: least overkill with an escape rate within `max_escape_rate`.
            ``fixed``: `threshold` as it is.
        max_escape_rate: accepted escapes / all defectives, in [0, 1).
        threshold: in [0, 1].

    Raises:
        ValueError: `labels` lacks OK or defective images, or the rule's own setting is missing or wrong.
    """
    scores, labels = checked(scores, labels)
    if rule == "balanced":
        chosen = _balanced(scores, labels)
    elif rule == "max_escape_rate":
        chosen = _within_escape_rate(scores, labels, max_escape_rate)
    else:
        chosen = _fixed(threshold)
    called = scores >= chosen
    return OperatingPoint(
        threshold=chosen,
        rule=rule,
        escape=Rate.of((~called & (labels == 1)).sum(), (labels == 1).sum(), confidence),
        overkill=Rate.of((called & (labels == 0)).sum(), (labels == 0).sum(), confidence),
    )


def choose_review_band(scores: np.ndarray, threshold: float, fraction: float) -> ReviewBand:
    """Return the band around `threshold` that holds about `fraction` of the images, those nearest in logits.

    Raises:
        ValueError: `fraction` is not in [0, 1).
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"review_fraction: expected a fraction from 0 to below 1, received {fraction}")
    count = int(fraction * len(scores) + 1e-9)
    if count == 0:
        return ReviewBand(low=threshold, high=threshold)
    centre = logit(threshold)
    distance = np.sort(np.abs(logit(scores) - centre))
    half_width = distance[count - 1 : count + 1].mean()
    return ReviewBand(low=expit(centre - half_width), high=expit(centre + half_width))


def logit(score: np.ndarray | float) -> np.ndarray:
    """Return ln(p / (1 − p)), finite also at 0 and 1."""
    p = np.clip(np.asarray(score, np.float64), LOGIT_LIMIT, 1 - LOGIT_LIMIT)
    return np.log(p) - np.log1p(-p)


def expit(value: np.ndarray | float) -> float:
    """Return the score of one logit."""
    return float(1 / (1 + np.exp(-value)))


def _balanced(scores: np.ndarray, labels: np.ndarray) -> float:
    cuts = np.unique(scores)  # called defective from here up; the lowest rejects everything
    caught = _share_from(scores[labels == 1], cuts)
    rejected = _share_from(scores[labels == 0], cuts)
    balanced = (caught + 1 - rejected) / 2
    width = np.diff(logit(cuts), prepend=logit(cuts[0]))
    best = np.flatnonzero(balanced >= balanced.max() - 1e-12)
    return _middle_of_plateau(cuts, best[np.argmax(width[best])])


def _within_escape_rate(scores: np.ndarray, labels: np.ndarray, limit: float | None) -> float:
    if limit is None or not 0 <= limit < 1:
        raise ValueError(f"max_escape_rate: expected a fraction from 0 to below 1, received {limit}")
    defective = np.sort(scores[labels == 1])
    allowed = int(limit * len(defective) + 1e-9)
    cuts = np.unique(scores)
    return _middle_of_plateau(cuts, int(np.searchsorted(cuts, defective[allowed])))


def _fixed(threshold: float | None) -> float:
    if threshold is None or not 0 <= threshold <= 1:
        raise ValueError(f"threshold: expected a number from 0 to 1, received {threshold}")
    return float(threshold)


def _share_from(scores: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Return the share of `scores` that is at or above each cut."""
    return 1 - np.searchsorted(np.sort(scores), cuts, side="left") / len(scores)


def _middle_of_plateau(cuts: np.ndarray, index: int) -> float:
    """Return the middle, in logits, between a distinct score and the next lower one.

    A float32 value, so that comparing it with scores of either precision gives the same verdicts.
    """
    top = float(cuts[index])
    if index == 0:
        return top
    middle = float(np.float32(expit((logit(cuts[index - 1]) + logit(top)) / 2)))
    return middle if cuts[index - 1] < middle <= top else top
