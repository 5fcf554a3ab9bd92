"""Detect drift: compare recent inspections with the held-out OK images of training.

Figures of a window of inspections against the model's baseline, each by a two-sample Kolmogorov-Smirnov test. Images of one batch
are alike, so one window says little: several in a row must differ in the same direction (docs/decisions/0037-drift.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

Cause = Literal["camera", "parts"]

# The least difference that counts, of each figure. Of those of the parts, only a rise is tested.
PARTS: Mapping[str, float] = {"score": 0.01, "novelty": 0.1}
CAMERA: Mapping[str, float] = {
    "brightness": 1.0,
    "contrast": 0.5,
    "sharpness": 0.1,
    "colour_balance": 0.01,
}
FIGURES: Mapping[str, float] = {**PARTS, **CAMERA}
FEWEST = 20  # parts of a baseline: fewer could show nothing at such a level
_QUANTILES = 200
_STRANGE = 0.05  # share of the parts that may be anything, beside the usual defective ones
_RARER = (
    8  # how much rarer each further window in a row makes a false alarm, of lots as in docs/monitoring.md
)
_HOURS_PER_YEAR = 8766.0


class Baseline(BaseModel):
    """Quantiles of each figure over the held-out OK training images, evenly spaced; at most one per part.

    parts: how many there were.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    parts: int
    quantiles: dict[str, tuple[float, ...]]

    @classmethod
    def of(cls, figures: Mapping[str, np.ndarray], parts: int) -> Self | None:
        """Summarise figures, each float (n_images,); None if there are too few parts to compare with."""
        counts = {name: min(_QUANTILES, parts, len(values)) for name, values in figures.items()}
        enough = {name: count for name, count in counts.items() if count >= FEWEST}
        quantiles = {name: _evenly(figures[name], count) for name, count in enough.items()}
        return cls(parts=parts, quantiles=quantiles) if quantiles else None


def _evenly(values: np.ndarray, count: int) -> tuple[float, ...]:
    places = (np.arange(count) + 0.5) / count
    return tuple(float(f"{value:.6g}") for value in np.quantile(values, places, method="inverted_cdf"))


@dataclass(frozen=True, slots=True)
class Spread:
    """The 5th, 50th and 95th percentile of the images."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> "Spread":
        return cls(*map(float, np.quantile(values, (0.05, 0.5, 0.95))))


@dataclass(frozen=True, slots=True)
class Difference:
    """How a window differs from the baseline. distance: share of the parts, beyond what is tolerated. sign: 1: higher, -1: lower."""

    distance: float
    p: float
    sign: int


@dataclass(frozen=True, slots=True)
class ComparedFigure:
    """One figure of the newest window. in_a_row: windows from the newest on that differ in its direction."""

    name: str
    usual: Spread
    now: Spread
    difference: Difference
    in_a_row: int
    alarm: bool

    @property
    def cause(self) -> Cause:
        return "camera" if self.name in CAMERA else "parts"


def compare(
    windows: Sequence[Mapping[str, np.ndarray]],
    baseline: Baseline,
    *,
    level: float,
    persistence: int,
    defect_rate: float,
) -> tuple[ComparedFigure, ...]:
    """Compare each figure that the baseline and the newest window have.

    Args:
        windows: figures of each, float (n_inspections,), newest first.
        level: of each test. persistence: windows in a row that must differ. defect_rate: usual share of defective parts.
    """
    return tuple(
        _compare(name, windows, usual, level, persistence, defect_rate + _STRANGE)
        for name, usual in baseline.quantiles.items()
        if windows and name in FIGURES and len(windows[0].get(name, ()))
    )


def level_of(false_alarms_per_year: float, every_h: float, n_tests: int) -> float:
    """Return the level of one test at which so many windows a year differ by chance (Bonferroni).

    Args:
        every_h: hours between two looks. n_tests: at one look, of all figures and places.
    """
    return min(false_alarms_per_year * every_h / (_HOURS_PER_YEAR * max(n_tests, 1)), 0.5)


def persistence_of(persistence: int, n_places: int) -> int:
    """Return how many windows in a row must differ at one of several places, so that false alarms of all are as rare as of one.

    Images of one lot are alike, so the level alone does not keep them rare. Each further window does (docs/monitoring.md).
    """
    further = 0
    while _RARER**further < n_places:
        further += 1
    return persistence + further


def cause_of(figures: Sequence[ComparedFigure]) -> Cause | None:
    """Return what to look at first. Dim or blurred images also raise score and novelty, so the camera comes first."""
    causes = {one.cause for one in figures if one.alarm}
    return "camera" if "camera" in causes else "parts" if causes else None


def _compare(
    name: str,
    windows: Sequence[Mapping[str, np.ndarray]],
    usual: Sequence[float],
    level: float,
    persistence: int,
    tolerated: float,
) -> ComparedFigure:
    found = [
        difference(window[name], usual, name, tolerated)
        for window in windows[:persistence]
        if len(window.get(name, ()))
    ]
    in_a_row = 0
    while in_a_row < len(found) and found[in_a_row].p < level and found[in_a_row].sign == found[0].sign:
        in_a_row += 1
    newest = Spread.of(windows[0][name])
    return ComparedFigure(name, Spread.of(usual), newest, found[0], in_a_row, in_a_row >= persistence)


def difference(values: np.ndarray, usual: Sequence[float], name: str, tolerated: float) -> Difference:
    """Test whether values come from the baseline, apart from a share that may be anything.

    That share is put at the far end of the baseline, where it can only hide a difference.

    Args:
        values: float (n_inspections,). usual: quantiles of the baseline.
    """
    from scipy.stats import ks_2samp  # takes a second to load, which a server's start need not wait for

    beyond = np.full(round(len(usual) * tolerated / (1 - tolerated)), np.inf)
    least = FIGURES[name]
    higher = ks_2samp(values - least, np.append(usual, beyond), alternative="less", method="asymp")
    if name in PARTS:
        return Difference(abs(float(higher.statistic)), float(higher.pvalue), 1)
    lower = ks_2samp(values + least, np.append(-beyond, usual), alternative="greater", method="asymp")
    more, sign = min((higher, 1), (lower, -1), key=lambda one: float(one[0].pvalue))
    return Difference(abs(float(more.statistic)), min(1.0, 2 * float(more.pvalue)), sign)
