"""Choose the parts of a test split: whole parts, with equal shares of each label, type of defect and day."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from defect_detection.data.samples import DEFECTIVE, OK, Sample
from defect_detection.data.shares import choose_units, complete
from defect_detection.data.units import Unit, join
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
    units = sorted(join(samples), key=lambda unit: unit.rank(f"test {seed}"))
    counts = {label: sum(label in unit.labels for unit in units) for label in (OK, DEFECTIVE)}
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
    chosen = choose_units(units, fraction, kinds)
    _complete_types(units, chosen)
    complete(units, chosen, [label for label, count in counts.items() if count >= 2])
    return {sample.path for unit in units if unit.name in chosen for sample in unit.samples}


def _complete_types(units: Sequence[Unit], chosen: set[str]) -> None:
    """Add the smallest part of each type that has enough parts, and none in the choice."""
    types = sorted({name for unit in units for sample in unit.samples for name in sample.defect_types})
    for name in types:
        having = [unit for unit in units if any(name in sample.defect_types for sample in unit.samples)]
        if len(having) >= ENOUGH_PARTS and not any(unit.name in chosen for unit in having):
            chosen.add(min(having, key=lambda unit: len(unit.samples)).name)
