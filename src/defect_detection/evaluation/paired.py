"""Compare two models' verdicts on the same parts, with exact tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from .parts import numbered
from .rates import clopper_pearson

_OUTSIDE = (
    1e-4  # chance, added to the p-value, that the share of parts that differ lies outside the range looked at
)
_GRID = 100  # shares looked at in that range
_FARTHEST = 20_000  # parts; a test set that would have to be larger is not worth naming
_NEGLIGIBLE = 1e-18  # numbers of differing parts with a smaller chance are left out


class PairedDifferences(NamedTuple):
    """Numbers of parts on which two models differ: `worse` if only the candidate errs, `better` if only the champion errs."""

    worse: int
    better: int
    total: int


@dataclass(frozen=True)
class Pairs:
    """The verdicts of two models on the same images.

    A part counts as worse when the candidate errs on more of its images than the champion.

    Args:
        labels: int array of shape (n_images,), 1 = defective, 0 = OK.
        candidate, champion: bool arrays of shape (n_images,): called defective, each at the model's own threshold.
        defect_types: str array of shape (n_images,), read for defective images only.
        parts: int array of shape (n_images,), alike for images of one part. See `of`.
    """

    labels: np.ndarray
    candidate: np.ndarray
    champion: np.ndarray
    defect_types: np.ndarray
    parts: np.ndarray

    @classmethod
    def of(
        cls,
        labels: Sequence[int] | np.ndarray,
        candidate: Sequence[bool] | np.ndarray,
        champion: Sequence[bool] | np.ndarray,
        defect_types: Sequence[str] | None = None,
        parts: Sequence[str] | None = None,
    ) -> "Pairs":
        """Return checked pairs.

        Args:
            defect_types: one name per image; "" counts as "defective".
            parts: name of each image's part, "" = its own part.

        Raises:
            ValueError: lengths differ.
        """
        n = len(labels)
        types = np.array([name or "defective" for name in defect_types or [""] * n])
        arrays = (
            np.asarray(labels, np.int64),
            np.asarray(candidate, bool),
            np.asarray(champion, bool),
            types,
            numbered(parts, n),
        )
        if any(array.shape != (n,) for array in arrays):
            raise ValueError(
                f"expected one value per image, received shapes {[array.shape for array in arrays]}"
            )
        return cls(*arrays)

    @property
    def noun(self) -> str:
        """What is counted: "images", or "parts" where some have several images."""
        return "images" if len(np.unique(self.parts)) == len(self.parts) else "parts"

    @property
    def types(self) -> list[str]:
        return sorted(set(self.defect_types[self.labels == 1].tolist()))

    @cached_property
    def mistakes(self) -> PairedDifferences:
        """Return where the models differ in being right."""
        return self._differences(np.ones(len(self.labels), bool))

    @cached_property
    def escapes(self) -> PairedDifferences:
        """Return where they differ in missing a defect; `total` counts the defective parts."""
        return self._differences(self.labels == 1)

    def escapes_of(self, defect_type: str) -> PairedDifferences:
        return self._differences((self.labels == 1) & (self.defect_types == defect_type))

    def _differences(self, where: np.ndarray) -> PairedDifferences:
        wrong = [(called != self.labels)[where].astype(int) for called in (self.candidate, self.champion)]
        _, part = np.unique(self.parts[where], return_inverse=True)
        more = np.bincount(part, wrong[0] - wrong[1])  # (n_parts,)
        return PairedDifferences(int((more > 0).sum()), int((more < 0).sum()), len(more))


def chance_of_worse(found: PairedDifferences) -> float:
    """Return the exact one-sided McNemar p-value: how likely as many worse parts are when neither model is worse.

    McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12 (1947).
    """
    from scipy.special import bdtr

    differing = found.worse + found.better
    return 1.0 - float(bdtr(found.worse - 1, differing, 0.5)) if found.worse else 1.0


@lru_cache(maxsize=100_000)
def chance_beyond(found: PairedDifferences, margin: float) -> float:
    """Return the p-value: the probability of a result this good if the candidate's error rate is higher by `margin` or more.

    An exact unconditional p-value for paired proportions. Results are ordered by Tango's score statistic; the share of parts that
    differ (the nuisance parameter) takes the least favourable value in its own confidence interval. Given
    that share and the number of parts that differ, the statistic rises with `worse`, so no larger difference than
    `margin` is less favourable, and the level holds at every sample size.

    Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample design",
    Statistics in Medicine 17 (1998). Berger and Boos, "P values maximized over a confidence set for the nuisance
    parameter", Journal of the American Statistical Association 89 (1994).
    """
    low, high = clopper_pearson(found.worse + found.better, found.total, 1 - _OUTSIDE)
    if high <= margin:
        return _OUTSIDE
    shares = np.linspace(max(low, margin), high, _GRID)
    differing = _plausible(found.total, shares)
    most = _most_worse(differing, score_statistic(found, margin), found.total, margin)
    return min(1.0, float(_probability(differing, most, found.total, shares, margin).max()) + _OUTSIDE)


def score_statistic(found: PairedDifferences, margin: float) -> float:
    """Return Tango's z: below 0 when the candidate looks better than worse by `margin`."""
    return float(_scores(np.array([found.worse]), np.array([found.better]), found.total, margin)[0])


def _scores(worse: np.ndarray, better: np.ndarray, total: int, margin: float) -> np.ndarray:
    linear = (2 * total - worse + better) * margin - worse - better
    constant = -better * margin * (1 - margin)
    share = (np.sqrt(np.maximum(linear**2 - 8 * total * constant, 0)) - linear) / (
        4 * total
    )  # better's, if margin holds
    return (worse - better - total * margin) / np.sqrt(total * (2 * share + margin * (1 - margin)))


def _plausible(total: int, shares: np.ndarray) -> np.ndarray:
    """Return the numbers of differing parts within 10 standard deviations, for any share."""
    ends = []
    for share, sign in ((shares[0], -1), (shares[-1], 1)):
        ends.append(total * share + sign * (10 * np.sqrt(total * share * (1 - share)) + 20))
    return np.arange(max(0, int(ends[0])), min(total, int(ends[1])) + 1)


def _most_worse(differing: np.ndarray, limit: float, total: int, margin: float) -> np.ndarray:
    """Return for each number of differing parts how many may be worse for a statistic of at most `limit`; −1: none."""
    low, high = np.full(len(differing), -1), differing.copy()
    while (low < high).any():
        middle = (low + high + 1) // 2
        within = _scores(middle, differing - middle, total, margin) <= limit + 1e-9
        low, high = np.where(within, middle, low), np.where(within, high, middle - 1)
    return low


def _probability(
    differing: np.ndarray, most: np.ndarray, total: int, shares: np.ndarray, margin: float
) -> np.ndarray:
    """Return P(result within `most`) for each share of differing parts, if the true difference is `margin`."""
    from scipy.special import bdtr, gammaln, xlogy

    rows, rest = shares[:, None], total - differing
    ways = gammaln(total + 1) - gammaln(differing + 1) - gammaln(rest + 1)
    chance = np.exp(ways + xlogy(differing, rows) + xlogy(rest, 1 - rows))  # of so many differing parts
    of_worse = np.minimum((rows + margin) / (2 * rows), 1.0)
    given = np.zeros_like(chance)
    counts = (most >= 0) & (chance > _NEGLIGIBLE)  # the others would take most of the time
    bdtr(most.astype(float), differing, of_worse, out=given, where=counts)
    return np.asarray((chance * given).sum(1))  # (n_shares,)


@lru_cache(maxsize=100_000)
def parts_needed(found: PairedDifferences, margin: float, level: float) -> int | None:
    """Return about how many parts in all would rule out `margin`, with differences as often as now; None: no number would."""
    if (found.worse - found.better) / found.total >= margin:
        return None
    enough = found.total
    while chance_beyond(_scaled(found, enough), margin) > level:
        enough *= 2
        if enough > _FARTHEST:
            return None
    too_few = max(found.total, enough // 2)
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if chance_beyond(_scaled(found, middle), margin) > level:
            too_few = middle
        else:
            enough = middle
    return enough


def fewest_parts(margin: float, level: float) -> int | None:
    """Return how many defective parts rule out `margin` for a candidate that errs on the same parts as the champion."""
    return parts_needed(PairedDifferences(0, 0, 1), margin, level)


def _scaled(found: PairedDifferences, total: int) -> PairedDifferences:
    """Return the same rates on `total` parts, rounded to the candidate's disadvantage."""
    worse = -(-found.worse * total // found.total)
    return PairedDifferences(worse, min(found.better * total // found.total, total - worse), total)
