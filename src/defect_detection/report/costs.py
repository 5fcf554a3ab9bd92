"""Compute escaped parts, rejected parts and costs for every threshold."""

from collections.abc import Sequence

import numpy as np

from defect_detection.evaluation.operating_point import Costs
from defect_detection.evaluation.parts import numbered, rate_of
from defect_detection.evaluation.rates import Estimate, Frozen

from .outlook import PARTS, times

MOST_POINTS = 120  # of a curve: more can't be told apart in a picture


class CostPoint(Frozen):
    """The result of one threshold for `parts` parts of the line. `cost`: None without costs in the settings."""

    threshold: float
    escapes: Estimate
    overkill: Estimate
    cost: float | None


class CostCurve(Frozen):
    """Escaped and rejected parts over the threshold, at the line's own share of defective parts.

    cheapest: the least cost of these very images. It isn't a threshold to use: one that was chosen on the test images makes
        their figures too good.
    """

    parts: int
    defect_rate: float
    costs: Costs | None
    chosen: CostPoint
    cheapest: CostPoint | None
    points: tuple[CostPoint, ...]


def cost_curve(
    scores: np.ndarray,
    labels: np.ndarray,
    threshold: float,
    defect_rate: float,
    costs: Costs | None = None,
    *,
    n_parts: int = PARTS,
    confidence: float = 0.95,
    parts: Sequence[str] | None = None,
) -> CostCurve:
    """Return what each threshold would give among `n_parts` parts of the line.

    Expected escapes are `n_parts` · `defect_rate` · P(score < threshold | defective), expected false rejects
    `n_parts` · (1 − `defect_rate`) · P(score >= threshold | OK); the expected cost weighs both. (Drummond and Holte, "Cost curves",
    Machine Learning 65 (2006), draw the same over all priors; here the line's own is known.)

    Args:
        scores: float array of shape (n_images,), P(defective) in [0, 1].
        labels: int array of shape (n_images,), 1 = defective, 0 = OK; both occur.
        threshold: the one in use.
        defect_rate: defective parts / all parts on the line.
        costs: of one escaped and of one rejected OK part.
        parts: name of each image's part, "" = its own part.
    """
    part = [numbered(parts, len(labels))[labels == label] for label in (0, 1)]
    cuts = np.append(np.unique(scores), 1.0 if scores.max() < 1 else [])  # the last threshold rejects nothing
    n_escaped, n_rejected = _counts(scores, labels, cuts)
    totals = (int((labels == 1).sum()), int((labels == 0).sum()))
    line = (n_parts * defect_rate, n_parts * (1 - defect_rate))

    def point(cut: float) -> CostPoint:
        escapes = times(rate_of(scores[labels == 1] < cut, part[1], confidence), line[0])
        overkill = times(rate_of(scores[labels == 0] >= cut, part[0], confidence), line[1])
        return CostPoint(
            threshold=float(cut), escapes=escapes, overkill=overkill, cost=_cost(escapes, overkill, costs)
        )

    shown = np.unique(np.linspace(0, len(cuts) - 1, MOST_POINTS).round().astype(int))
    cheapest = None
    if costs is not None:
        total = (
            costs.escape * line[0] * n_escaped / totals[0] + costs.overkill * line[1] * n_rejected / totals[1]
        )
        cheapest = point(cuts[int(np.argmin(total))])
    return CostCurve(
        parts=n_parts,
        defect_rate=defect_rate,
        costs=costs,
        chosen=point(threshold),
        cheapest=cheapest,
        points=tuple(point(cuts[i]) for i in shown),
    )


def _counts(scores: np.ndarray, labels: np.ndarray, cuts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count the defective images below each cut, and the OK images at or above it."""
    defective, ok = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    return np.searchsorted(defective, cuts, side="left"), len(ok) - np.searchsorted(ok, cuts, side="left")


def _cost(escapes: Estimate, overkill: Estimate, costs: Costs | None) -> float | None:
    return None if costs is None else costs.escape * escapes.value + costs.overkill * overkill.value
