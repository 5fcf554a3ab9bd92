"""What the report says of defects that the model has not learned: types left out of training, and drawn defects."""

from collections.abc import Sequence

import numpy as np

from defect_detection.evaluation.parts import rate_of
from defect_detection.evaluation.rates import Frozen, Rate
from defect_detection.evaluation.types_left_out import LEAST_PARTS, TypeLeftOut


class DrawnDefects(Frozen):
    """Defects that a program drew on OK test images. They are no test images: no other figure counts them.

    caught: not ok by the verdict. per_kind: the same by kind. without: the same of the images before the defect was drawn.
    """

    caught: Rate
    per_kind: dict[str, Rate]
    without: Rate


class Unseen(Frozen):
    """Types that were left out of training, with a note on those that were not; and drawn defects."""

    types: tuple[TypeLeftOut, ...]
    note: str
    drawn: DrawnDefects | None


def drawn_defects(
    caught: np.ndarray, kinds: Sequence[str], part: np.ndarray, without: Rate, confidence: float
) -> DrawnDefects:
    """Count the drawn defects that were caught.

    Args:
        caught: bool array of shape (n_drawn,). kinds: the name of the kind of each.
        part: number of the part that each was drawn on, int array of shape (n_drawn,).
    """
    names = np.array(kinds)
    per_kind = {
        str(name): rate_of(caught[names == name], part[names == name], confidence)
        for name in dict.fromkeys(kinds)
    }
    return DrawnDefects(caught=rate_of(caught, part, confidence), per_kind=per_kind, without=without)


def unseen(
    left_out: Sequence[TypeLeftOut] | None, defect_types: Sequence[str], drawn: DrawnDefects | None
) -> Unseen | None:
    """Return what is known of unseen defects; None where nothing is.

    Args:
        left_out: None of a model of an earlier version. defect_types: all that the model has learned.
    """
    if not defect_types and drawn is None:
        return None
    known = tuple(left_out or ())
    return Unseen(types=known, note=_note(left_out, known, defect_types), drawn=drawn)


def _note(
    left_out: Sequence[TypeLeftOut] | None, known: Sequence[TypeLeftOut], defect_types: Sequence[str]
) -> str:
    missing = [name for name in defect_types if name not in {one.name for one in known}]
    if not missing:
        return ""
    if left_out is None:
        return "Not measured: an earlier version trained this model. Train again to measure it."
    return (
        f"Not measured: {', '.join(missing)}. A type needs at least {LEAST_PARTS} parts in the training images, and other types "
        "beside it. A type that the trunk was trained on cannot be left out, and no type of a model with tiles is."
    )
