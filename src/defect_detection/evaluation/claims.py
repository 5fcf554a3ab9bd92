"""Check whether a split shows that an error rate is within its limit, and how many images would show it.

A claim is checked on the same images that the threshold was chosen on. This is valid only because of how the threshold is chosen. An
error rate is monotone in the threshold, so the thresholds can be tested one after the other, from the
strictest on, each at the full level, up to the first that fails: fixed-sequence testing (Angelopoulos et al., "Learn then
Test", 2021; Bates et al., "Distribution-free, risk-controlling prediction sets", Journal of the ACM 68, 2021). With the exact
binomial test this is the order statistic of Wilks ("Determination of sample sizes for setting tolerance limits", Annals of
Mathematical Statistics 12, 1941): whatever the distribution of the scores, the chosen threshold breaks the limit with a
probability of at most 1 − confidence. It counts parts, which are independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .plateaus import cuts_of, middle_of_plateau
from .rates import Frozen, defectives_needed, escape_limit, percent

Kind = Literal["escape", "overkill"]
Noun = Literal["image", "part"]


class RateClaim(Frozen):
    """That an error rate is at most `limit`, at one-sided `confidence`, and whether the split shows it.

    kind: ``escape`` (of defective parts) or ``overkill`` (of OK parts). `count` of `total` parts were wrong: a part is, when one of
    its images of that label is. unit: what texts call them: ``image`` where each part has one.
    bound: the highest rate that this leaves possible. needed: how many parts, none of them wrong, would show the limit; None:
    no number would.
    """

    kind: Kind
    limit: float
    confidence: float
    count: int
    total: int
    unit: Noun
    bound: float
    needed: int | None
    met: bool
    split: str = "validation"

    @property
    def unsound(self) -> "RateClaim":
        """Return the claim for images that the model was trained on: nothing is shown."""
        return self.model_copy(update={"met": False})

    @property
    def text(self) -> str:
        """Say it in two sentences."""
        goal = f"{self.kind} rate of at most {100 * self.limit:g} % at {100 * self.confidence:g} % confidence"
        bound = f"at most {percent(self.bound)} %"
        if self.met:
            return f"Shown: {goal}. {self._found}, which shows {bound}"
        if self.bound <= self.limit:
            return f"NOT shown: {goal}. {self._found}, but the model was trained on these images"
        return f"NOT shown: {goal}. {self._found}, which shows only {bound}; {self._remedy}"

    @property
    def _found(self) -> str:
        wrong = {"escape": "passed", "overkill": "were rejected"}[self.kind]
        return f"Of {self.total} {self._label} {self.unit}s on {self.split}, {self.count or 'none'} {wrong}"

    @property
    def _remedy(self) -> str:
        if self.needed is None:
            return "no number of images can show a rate of 0: set a limit above 0"
        without = {"escape": "no escape", "overkill": "none rejected"}[self.kind]
        return (
            f"the claim needs {without} among them"
            if self.needed <= self.total
            else f"the claim needs about {self.needed} {self._label} {self.unit}s with {without}"
        )

    @property
    def _label(self) -> str:
        return "defective" if self.kind == "escape" else "OK"


@dataclass(frozen=True)
class PartScores:
    """The score that decides each part of one label, float array of shape (n_parts,)."""

    kind: Kind
    scores: np.ndarray
    noun: Noun

    @classmethod
    def of(
        cls,
        kind: Kind,
        scores: np.ndarray,
        labels: np.ndarray,
        parts: Sequence[str] | None = None,
        counting: np.ndarray | None = None,
    ) -> "PartScores":
        """Select, for each part, the image of that label that is closest to an error.

        Images of one part fail together, so counting them one by one would claim more than was seen.

        Args:
            parts: name of each image's part; "" or None: an image is its own.
            counting: the images to take, bool (n_images,); None: all.
        """
        counts = labels == (1 if kind == "escape" else 0)
        chosen = np.flatnonzero(counts if counting is None else counts & counting).tolist()
        names = [(parts[i] if parts is not None else "") or f"\0{i}" for i in chosen]
        found, place = np.unique(names, return_inverse=True)
        worst = np.full(len(found), np.inf if kind == "escape" else -np.inf)
        (np.minimum if kind == "escape" else np.maximum).at(worst, place, scores[chosen])
        return cls(kind, worst, "part" if len(found) < len(chosen) else "image")

    def edge(self, scores: np.ndarray, limit: float, confidence: float) -> float:
        """Return the loosest threshold at which the limit is shown; where none shows it, the loosest without an error.

        Loosest is the highest for escapes, the lowest for overkill. The end of its plateau depends on all `scores` of the split.
        """
        allowed = allowed_errors(limit, len(self.scores), confidence) or 0
        cuts, ranked = cuts_of(scores), np.sort(self.scores)
        if self.kind == "escape":
            return middle_of_plateau(cuts, int(np.searchsorted(cuts, ranked[allowed])))
        return middle_of_plateau(cuts, int(np.searchsorted(cuts, ranked[-1 - allowed], side="right")))

    def claim(self, threshold: float, limit: float, confidence: float, split: str) -> RateClaim:
        """Check a threshold that `edge` gave, or a stricter one."""
        wrong = self.scores < threshold if self.kind == "escape" else self.scores >= threshold
        count, total = int(wrong.sum()), len(self.scores)
        allowed = allowed_errors(limit, total, confidence)
        return RateClaim(
            kind=self.kind,
            limit=limit,
            confidence=confidence,
            count=count,
            total=total,
            unit=self.noun,
            bound=escape_limit(count, total, confidence),
            needed=defectives_needed(limit, 0, confidence) if limit else None,
            met=allowed is not None and count <= allowed,
            split=split,
        )


def allowed_errors(limit: float, total: int, confidence: float) -> int | None:
    """Return how many of `total` parts may be wrong with the limit still shown; None: not even none.

    The largest count whose one-sided Clopper–Pearson bound is within the limit: P(at most count | total, limit) <= 1 − confidence.
    """
    from scipy.special import bdtr

    counts = np.arange(int(limit * total) + 1)
    enough = np.flatnonzero(bdtr(counts, total, limit) <= 1 - confidence)
    return int(enough[-1]) if len(enough) else None
