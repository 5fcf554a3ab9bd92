"""Find outliers with medians, which a few wrong values hardly change."""

import numpy as np

MOST_ODD = 0.1  # of the OK parts: so many may be taken for defective
FAR = 4.0  # robust standard deviations from the median
_LEAST_ODD = 2.0  # and so far in novelty: standard deviations of held-out OK images
_OF_NORMAL = 1.4826  # standard deviations in a median deviation


def from_median(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far each value is above the median of its column, and the robust standard deviation of each column."""
    above = values - np.median(values, axis=0)
    return above, _OF_NORMAL * np.median(np.abs(above), axis=0)


def unlike_the_others(novelty: np.ndarray) -> np.ndarray:
    """Mark OK images that are far more novel than the others, bool (n_images,): they may be defective.

    Args:
        novelty: of OK images alone, (n_images,), in standard deviations of held-out ones, up to a constant.
    """
    if not len(novelty):
        return np.zeros(0, bool)
    above, spread = from_median(novelty)
    return np.asarray(above > max(_LEAST_ODD, FAR * float(spread)))
