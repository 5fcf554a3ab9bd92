"""Count parts: all images of one part count once."""

from collections.abc import Sequence

import numpy as np

from .rates import Rate


def numbered(parts: Sequence[str] | np.ndarray | None, n: int) -> np.ndarray:
    """Return the number of each image's part, int array of shape (n_images,).

    Args:
        parts: one name per image, which those of one part share; "" or None: the image is its own part.
    """
    if parts is None:
        return np.arange(n)
    names = [f"part {name}" if name else f"single image {i}" for i, name in enumerate(parts)]
    return np.unique(names, return_inverse=True)[1]


def rate_of(hits: np.ndarray, part: np.ndarray, confidence: float = 0.95) -> Rate:
    """Return the share of images that are hit, with an interval that counts parts.

    Args:
        hits: bool array of shape (n_images,).
        part: number of each image's part, int array of shape (n_images,); see `numbered`.
    """
    if len(np.unique(part)) == len(part):  # also without names
        return Rate.of(hits.sum(), len(hits), confidence)
    return Rate.of(hits.sum(), len(hits), confidence, effective(hits, part, confidence))


def effective(hits: np.ndarray, part: np.ndarray, confidence: float) -> float:
    """Return how many independent images say as much as these, from 1 to their number.

    n_eff = 1 + p (1 − p) / v, where v is the variance of the rate between parts, less what few parts leave unsure of v (Korn and
    Graubard, "Confidence intervals for proportions with small expected number of positive counts estimated from survey data",
    Survey Methodology 24 (1998)). As many as there are parts where none or all images are hit.
    """
    from scipy.special import stdtrit

    _, part = np.unique(part, return_inverse=True)
    size, count = np.bincount(part), np.bincount(part, hits)
    n, n_parts, rate = len(hits), len(size), hits.mean()
    if n_parts == 1:
        return 1.0
    if rate in (0, 1):
        return float(n_parts)
    variance = n_parts / (n_parts - 1) * np.sum((count - rate * size) ** 2) / n**2
    tail = (1 + confidence) / 2
    unsure = (stdtrit(n - 1, tail) / stdtrit(n_parts - 1, tail)) ** 2
    return float(min(n, max(1.0, (1 + rate * (1 - rate) / variance) * unsure))) if variance else float(n)
