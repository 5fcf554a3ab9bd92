"""Estimate the escape rate of an unseen defect type: score its images with a model that was fitted without the type."""

from collections.abc import Sequence

import numpy as np

from .parts import numbered, rate_of
from .rates import Frozen, Rate

LEAST_PARTS = (
    10  # of a type: when all of fewer are caught, escape rates above 26 % (one-sided, 95 %) remain possible
)


class TypeLeftOut(Frozen):
    """The escapes of a defect type whose images were left out of training.

    without_novelty: by the classifier alone. with_novelty: of the verdict, for which novelty counts too: in the score while there are
    few defects, and beyond its limit, where an image goes to review.
    """

    name: str
    without_novelty: Rate
    with_novelty: Rate


def type_left_out(
    name: str, without_novelty: np.ndarray, with_novelty: np.ndarray, parts: Sequence[str], confidence: float
) -> TypeLeftOut:
    """Count the images of a type that passed.

    Args:
        without_novelty, with_novelty: whether each image passed, bool arrays of shape (n_images,). parts: name of the part of each.
    """
    part = numbered(parts, len(parts))
    rates = (rate_of(passed, part, confidence) for passed in (without_novelty, with_novelty))
    return TypeLeftOut(name=name, without_novelty=next(rates), with_novelty=next(rates))
