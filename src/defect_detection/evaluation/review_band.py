"""Choose the review band from bounds on both error rates."""

from collections.abc import Sequence

import numpy as np

from .claims import PartScores
from .metrics import checked
from .operating_point import ReviewBand
from .rates import Frozen


class ReviewLimits(Frozen):
    """Bounds on what is decided without a person, in [0, 1).

    max_escape_rate: defective parts passed / all defective parts. max_overkill_rate: OK parts rejected / all OK parts. Each is
    to be shown at one-sided `confidence`.
    """

    max_escape_rate: float
    max_overkill_rate: float
    confidence: float = 0.95


def review_edges(
    scores: np.ndarray, labels: np.ndarray, limits: ReviewLimits, parts: Sequence[str] | None = None
) -> tuple[float, float]:
    """Return the lower and the upper edge of the band: below it parts pass, above it they are rejected.

    Where a limit isn't shown at any score, its edge is the loosest without an error. When the second edge is not above the first,
    any threshold between them meets both limits, and no band is needed.

    Args: as :func:`bound_review_band`.
    """
    scores, labels = checked(scores, labels)
    escapes, rejects = _both(scores, labels, parts)
    low = escapes.edge(scores, limits.max_escape_rate, limits.confidence)
    high = rejects.edge(scores, limits.max_overkill_rate, limits.confidence)
    return low, high


def bound_review_band(
    scores: np.ndarray,
    labels: np.ndarray,
    threshold: float,
    limits: ReviewLimits,
    parts: Sequence[str] | None = None,
    split: str = "validation",
) -> ReviewBand:
    """Return the narrowest band around `threshold` outside of which both error rates are within their limits.

    Empty when `threshold` meets both. The band's claims say which of the limits the split shows.

    Args:
        scores: float array of shape (n_images,), P(defective) in [0, 1].
        labels: int array of shape (n_images,), 1 = defective, 0 = OK.
        parts: name of each image's part ("" = its own part): the claims count parts.
        split: how the images are called in texts.

    Raises:
        ValueError: `labels` lacks OK or defective images.
    """
    low, high = review_edges(scores, labels, limits, parts)
    low, high = min(low, threshold), max(high, threshold)
    scores, labels = checked(scores, labels)
    escapes, rejects = _both(scores, labels, parts)
    claims = (
        escapes.claim(low, limits.max_escape_rate, limits.confidence, split),
        rejects.claim(high, limits.max_overkill_rate, limits.confidence, split),
    )
    return ReviewBand(low=low, high=high, claims=claims)


def _both(
    scores: np.ndarray, labels: np.ndarray, parts: Sequence[str] | None
) -> tuple[PartScores, PartScores]:
    return PartScores.of("escape", scores, labels, parts), PartScores.of("overkill", scores, labels, parts)
