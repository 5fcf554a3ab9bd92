"""Find plateaus: ranges of thresholds between neighbouring scores that give the same verdicts."""

import numpy as np

from .logits import expit, logit

HIGHEST_CUT = float(np.nextafter(np.float32(1), np.float32(2)))  # above every score; see `cuts_of`
HIGHEST_LOGIT = 16.0  # of a score below 1 in single precision


def cuts_of(scores: np.ndarray) -> np.ndarray:
    """Return the distinct thresholds, ascending: each score (called defective from here up), and one above them all."""
    above = max(1.0, float(np.nextafter(np.float32(scores.max()), np.float32(2))))
    return np.append(np.unique(scores), above)


def share_from(scores: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Return the share of `scores` that is at or above each cut."""
    return 1 - np.searchsorted(np.sort(scores), cuts, side="left") / len(scores)


def widest(cuts: np.ndarray, places: np.ndarray) -> int:
    """Return the index of the place with the widest plateau below it, in logits; the outer two count as narrow."""
    width = np.diff(logit(cuts), prepend=logit(cuts[0]))
    width[-1] = 0
    return int(places[np.argmax(width[places])])


def middle_of_plateau(cuts: np.ndarray, index: int) -> float:
    """Return the middle, in logits, between a cut and the next lower one.

    A float32 value, so that comparing it with scores of either precision gives the same verdicts.
    """
    top = float(cuts[index])
    if index == 0:
        return top
    middle = float(np.float32(expit((logit(cuts[index - 1]) + logit(top)) / 2)))
    return middle if cuts[index - 1] < middle <= top else top
