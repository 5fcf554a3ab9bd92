"""Choose parts, so that each kind of sample has its share on both sides of a split."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain

from defect_detection.data.parts import PartSamples
from defect_detection.data.samples import Sample

Kinds = Callable[[Sample], tuple[object, ...]]
"""Returns the kinds of a sample: each of them gets its share."""


def choose_parts(parts: Sequence[PartSamples], fraction: float, kinds: Sequence[Kinds]) -> set[str]:
    """Return the names of the parts of one side: by shares of the first kinds, then corrected by those of the next."""
    chosen: set[str] = set()
    for one in kinds:
        chosen = _fill(parts, chosen, fraction, one)
    return chosen


def _fill(parts: Sequence[PartSamples], chosen: set[str], fraction: float, kinds: Kinds) -> set[str]:
    """Choose parts that bring the kinds of samples nearer to their shares, those in `chosen` first.

    The distance is the sum over kinds of ``(chosen - fraction * all)² / all``, in samples. So a part that is
    too large for what is still wanted is passed over.
    """
    counts = {part.name: Counter(chain.from_iterable(map(kinds, part.samples))) for part in parts}
    totals = Counter(chain.from_iterable(kinds(sample) for part in parts for sample in part.samples))
    excess = {kind: -fraction * total for kind, total in totals.items()}
    filled = set()
    for part in sorted(parts, key=lambda part: part.name not in chosen):
        added = counts[part.name]
        change = sum(count * (2 * excess[kind] + count) / totals[kind] for kind, count in added.items())
        if change < 0:
            filled.add(part.name)
            for kind, count in added.items():
                excess[kind] += count
    return filled


def complete(parts: Sequence[PartSamples], chosen: set[str], needed: Sequence[int]) -> None:
    """Move single parts until both sides, those in `chosen` and the others, have all labels that are needed.

    With 2 parts of each label, whichever side lacks one, the other has a part that it can spare.
    """
    for label in needed:
        for is_chosen in (True, False):
            side = [part for part in parts if (part.name in chosen) == is_chosen]
            if not any(label in part.labels for part in side):
                other = [part for part in parts if (part.name in chosen) != is_chosen]
                chosen ^= {_spare(other, label).name}


def _spare(side: Sequence[PartSamples], label: int) -> PartSamples:
    """Return the smallest part with the label whose removal leaves every label on its side."""
    counts = Counter(held for part in side for held in part.labels)
    candidates = [
        part for part in side if label in part.labels and all(counts[held] > 1 for held in part.labels)
    ]
    return min(candidates, key=lambda part: len(part.samples))
