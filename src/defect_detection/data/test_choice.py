"""Choose the parts of a test split: whole parts, with equal shares of each label, type of defect and day."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from defect_detection.data.parts import PartSamples, join
from defect_detection.data.samples import DEFECTIVE, OK, Sample
from defect_detection.data.shares import choose_parts, complete
from defect_detection.errors import DataError

ENOUGH_PARTS = 4  # of a type, from which on one of them is in the test split


def choose_test(samples: Sequence[Sample], days: Mapping[Path, str], fraction: float, seed: int) -> set[Path]:
    """Return the images of the test split.

    Images of one part, and identical images, stay together. The choice depends on the parts and the seed alone.

    Args:
        samples: all images with a label, of which none is held out yet.
        days: on which each was taken.
        fraction: of the images for the test, 0 < fraction < 1; kept as nearly as parts allow.

    Raises:
        DataError: there are fewer than 2 parts that are OK.
    """
    parts = sorted(join(samples), key=lambda part: part.rank(f"test {seed}"))
    counts = {label: sum(label in part.labels for part in parts) for label in (OK, DEFECTIVE)}
    if counts[OK] < 2:
        raise DataError(
            f"a test split needs at least 2 parts that are OK, received {counts[OK]}: label more images, or set "
            "different parts for images that show different parts"
        )
    kinds = (
        lambda one: (one.label, one.defect_type, days[one.path]),
        lambda one: (one.label, one.defect_type),
        lambda one: (one.label,),
    )
    chosen = choose_parts(parts, fraction, kinds)
    _complete_types(parts, chosen)
    complete(parts, chosen, [label for label, count in counts.items() if count >= 2])
    return {sample.path for part in parts if part.name in chosen for sample in part.samples}


def _complete_types(parts: Sequence[PartSamples], chosen: set[str]) -> None:
    """Add the smallest part of each type that has enough parts, and none in the choice."""
    types = sorted({name for part in parts for sample in part.samples for name in sample.defect_types})
    for name in types:
        having = [part for part in parts if any(name in sample.defect_types for sample in part.samples)]
        if len(having) >= ENOUGH_PARTS and not any(part.name in chosen for part in having):
            chosen.add(min(having, key=lambda part: len(part.samples)).name)
