"""Detect diverging trainings: values that are NaN or infinite."""

import numpy as np

from defect_detection.errors import DivergedError


def require_numbers(values: np.ndarray | float, what: str, remedy: str = "lower the learning rate") -> None:
    """Check that all values are finite.

    Args:
        what: name of the values, such as "loss".

    Raises:
        DivergedError: one is infinite or not a number.
    """
    if not np.isfinite(values).all():
        raise DivergedError(f"{what} is NaN; {remedy}")
