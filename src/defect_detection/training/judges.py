"""Choose the validation images of a trial: if possible, none that its trunk was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from defect_detection.data.parts import of_whole_parts
from defect_detection.data.samples import DEFECTIVE, OK, Sample, labels_of
from defect_detection.model.bundle import are_known
from defect_detection.training.folds import Folds

ENOUGH = 2  # images of each label: a few unseen images give a rough estimate, many learned images a wrong one


@dataclass(frozen=True)
class Judges:
    """The folds of a trial, with remarks. left_out: validation images that are not used, because the trunk has learned them.
    learned: too few others were left, so images that the trunk has learned judge all the same, and judge too well.
    """

    folds: Folds
    left_out: int = 0
    learned: bool = False


def choose_judges(
    folds: Folds,
    samples: Sequence[Sample],
    known: np.ndarray,
    one_trunk: bool,
    needed: Sequence[int] = (OK, DEFECTIVE),
) -> Judges:
    """Return the folds that hold out only images that the trunk has not learned.

    A part of which the trunk has learned one image is learned as a whole.

    Args:
        folds: of a trunk that has learned no image.
        known: short hashes of what the trunk has learned; empty as shipped.
        one_trunk: the trunk is trained further, so one fold judges: the images that it must not learn.
        needed: labels that the judges must hold.
    """
    plain = folds.only(0) if one_trunk else folds
    learned = are_known([sample.sha256 for sample in samples], known)
    if not learned.any():
        return Judges(plain)
    learned = of_whole_parts(learned, samples)
    labels = labels_of(samples)
    rest = folds.without(learned)
    options = [rest.only(number) for number in range(rest.count)] if one_trunk else [rest]
    options.append(Folds(np.where(learned, -1, 0), folds.refit))
    for option in options:
        if np.bincount(labels[option.scored], minlength=2)[list(needed)].min() >= ENOUGH:
            return Judges(option, int(learned[folds.scored].sum()))
    return Judges(plain, learned=True)
