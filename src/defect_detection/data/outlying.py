"""Tell values that lie far from the others. A few wrong ones hardly move the yardstick: medians."""

import numpy as np

_OF_NORMAL = 1.4826  # standard deviations in a median deviation


def from_median(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far each value is above the median of its column, and the robust standard deviation of each column."""
    above = values - np.median(values, axis=0)
    return above, _OF_NORMAL * np.median(np.abs(above), axis=0)
