"""Choose units of samples, so that each kind of sample has its share on both sides of a split."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain

from defect_detection.data.samples import Sample
from defect_detection.data.units import Unit

Kinds = Callable[[Sample], tuple[object, ...]]
"""Returns the kinds of a sample: each of them gets its share."""


def choose_units(units: Sequence[Unit], fraction: float, kinds: Sequence[Kinds]) -> set[str]:
    """Return the names of the units of one side: by shares of the first kinds, then corrected by those of the next."""
    chosen: set[str] = set()
    for one in kinds:
        chosen = _fill(units, chosen, fraction, one)
    return chosen


def _fill(units: Sequence[Unit], chosen: set[str], fraction: float, kinds: Kinds) -> set[str]:
    """Choose units that bring the kinds of samples nearer to their shares, those in `chosen` first.

    The distance is the sum over kinds of ``(chosen - fraction * all)² / all``, in samples. So a unit that is
    too large for what is still wanted is passed over.
    """
    counts = {unit.name: Counter(chain.from_iterable(map(kinds, unit.samples))) for unit in units}
    totals = Counter(chain.from_iterable(kinds(sample) for unit in units for sample in unit.samples))
    excess = {kind: -fraction * total for kind, total in totals.items()}
    filled = set()
    for unit in sorted(units, key=lambda unit: unit.name not in chosen):
        added = counts[unit.name]
        change = sum(count * (2 * excess[kind] + count) / totals[kind] for kind, count in added.items())
        if change < 0:
            filled.add(unit.name)
            for kind, count in added.items():
                excess[kind] += count
    return filled


def complete(units: Sequence[Unit], chosen: set[str], needed: Sequence[int]) -> None:
    """Move single units until both sides, those in `chosen` and the others, have all labels that are needed.

    With 2 units of each label, whichever side lacks one, the other has a unit that it can spare.
    """
    for label in needed:
        for is_chosen in (True, False):
            side = [unit for unit in units if (unit.name in chosen) == is_chosen]
            if not any(label in unit.labels for unit in side):
                other = [unit for unit in units if (unit.name in chosen) != is_chosen]
                chosen ^= {_spare(other, label).name}


def _spare(side: Sequence[Unit], label: int) -> Unit:
    """Return the smallest unit with the label whose removal leaves every label on its side."""
    counts = Counter(held for unit in side for held in unit.labels)
    candidates = [
        unit for unit in side if label in unit.labels and all(counts[held] > 1 for held in unit.labels)
    ]
    return min(candidates, key=lambda unit: len(unit.samples))
