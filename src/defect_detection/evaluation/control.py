"""Control limits of a reject rate (p-chart)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

SIGMAS = 3


@dataclass(frozen=True, slots=True)
class ControlLimits:
    """Return the control limits of one period, in [0, 1]; None without inspections."""

    low: float
    high: float


def p_chart(hits: Sequence[int], totals: Sequence[int]) -> tuple[float | None, list[ControlLimits | None]]:
    """Return the centre line and each period's limits of Shewhart's p-chart: p ± 3 · sqrt(p · (1 - p) / n).

    Periods with few parts have wide limits. Source: Montgomery, Introduction to Statistical Quality Control, 7.2.

    Args:
        hits: rejected parts of each period. totals: all parts of each period.

    Returns:
        p = rejected parts / all parts, None when there are none; and for each period its limits, cut to [0, 1].
    """
    if not (total := sum(totals)):
        return None, [None] * len(totals)
    centre = sum(hits) / total
    return centre, [_limits(centre, n) if n else None for n in totals]


def _limits(centre: float, n: int) -> ControlLimits:
    reach = SIGMAS * sqrt(centre * (1 - centre) / n)
    return ControlLimits(max(0.0, centre - reach), min(1.0, centre + reach))
