"""Assign images to cross-validation folds. Images keep their fold when others are added."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from math import ceil

from defect_detection.data.samples import DEFECTIVE, OK, Sample
from defect_detection.data.units import Unit, join
from defect_detection.errors import DataError

MOST_FOLDS = 5
Kind = tuple[int] | tuple[int, str]  # a label, or a label and a defect type
LABEL_NAMES = {OK: "OK", DEFECTIVE: "defective"}


def assign_folds(
    samples: Sequence[Sample], seed: int, needed: Sequence[int] = (OK, DEFECTIVE)
) -> tuple[int, ...]:
    """Return for each sample the fold that it is held out in: at most `MOST_FOLDS`, fewer where a label has fewer units.

    Images of one group, and identical images, share a fold. The hash of a unit's name determines its preferred folds, so most
    images stay in their fold when others are added. A fold takes no more than its share of a label or defect type, as nearly as
    groups allow, so that all are spread evenly.

    Args:
        needed: labels that each fold must hold.

    Raises:
        DataError: a label that is needed has fewer than 2 groups of images.
    """
    units = sorted(join(samples), key=lambda unit: unit.rank(seed))
    check_can_split(units, needed)
    count = min(MOST_FOLDS, *(sum(label in unit.labels for unit in units) for label in needed))
    fold_of = _preferred(units, count, seed)
    _balance(_by_kind(units), fold_of, count)
    folds = {sample.path: fold_of[unit.name] for unit in units for sample in unit.samples}
    return tuple(folds[sample.path] for sample in samples)


def _preferred(units: Sequence[Unit], count: int, seed: int) -> dict[str, int]:
    """Return the fold that each unit likes best of those with room for it (hashing with bounded loads).

    Mirrokni, Thorup, Zadimoghaddam, "Consistent hashing with bounded loads" (2018): who comes first by hash chooses first.
    """
    held = {unit.name: Counter(kind for sample in unit.samples for kind in _kinds(sample)) for unit in units}
    totals: Counter[Kind] = Counter()
    largest: Counter[Kind] = Counter()
    for own in held.values():
        totals.update(own)
        largest |= own
    room = {kind: max(largest[kind], ceil(total / count)) for kind, total in totals.items()}
    loads: list[Counter[Kind]] = [Counter() for _ in range(count)]
    fold_of = {}
    for unit in units:
        own = held[unit.name]
        liked = sorted(range(count), key=lambda fold: unit.rank(f"{seed} {fold}"))
        fits = (fold for fold in liked if all(loads[fold][kind] + n <= room[kind] for kind, n in own.items()))
        chosen = next(fits, None)
        if chosen is None:
            chosen = min(
                liked, key=lambda fold: sum(n * loads[fold][k] / totals[k] ** 2 for k, n in own.items())
            )
        loads[chosen].update(own)
        fold_of[unit.name] = chosen
    return fold_of


def _by_kind(units: Sequence[Unit]) -> dict[Kind, list[Unit]]:
    """Return the units of each defect type, then of each label; the last ones are balanced best."""
    holding: dict[Kind, list[Unit]] = defaultdict(list)
    for unit in units:
        for kind in {kind for sample in unit.samples for kind in _kinds(sample)}:
            holding[kind].append(unit)
    return dict(sorted(holding.items(), key=lambda item: (-len(item[0]), item[0])))


def _balance(holding: dict[Kind, list[Unit]], fold_of: dict[str, int], count: int) -> None:
    """Move units until each fold has half its share of each kind, and one unit at least where there are enough."""
    for kind, units in holding.items():
        least = max(len(units) // (2 * count), min(len(units) // count, 1))
        counts = Counter(fold_of[unit.name] for unit in units)
        for fold in range(count):
            while counts[fold] < least:
                moved = _spare_unit(kind, fold, least, holding, fold_of)
                if moved is None:
                    break
                counts[fold_of[moved.name]] -= 1
                counts[fold] += 1
                fold_of[moved.name] = fold


def _spare_unit(
    kind: Kind,
    fold: int,
    least: int,
    holding: dict[Kind, list[Unit]],
    fold_of: dict[str, int],
) -> Unit | None:
    """Return the simplest unit of the kind from the fold with most of it, where that fold keeps a unit of each label."""
    held = {label: Counter(fold_of[unit.name] for unit in holding.get((label,), ())) for label in LABEL_NAMES}
    for giver, number in Counter(fold_of[unit.name] for unit in holding[kind]).most_common():
        spare = [
            unit
            for unit in holding[kind]
            if fold_of[unit.name] == giver and all(held[label][giver] > 1 for label in unit.labels)
        ]
        if giver != fold and number > least and spare:
            return min(spare, key=lambda unit: (len(unit.labels), len(unit.samples)))
    return None


def _kinds(sample: Sample) -> tuple[Kind, Kind]:
    return (sample.label,), (sample.label, sample.defect_type)


def check_can_split(units: Sequence[Unit], needed: Sequence[int] = (OK, DEFECTIVE)) -> None:
    """Refuse units that lack a label that is needed, or have it once: then one side of a split would lack it.

    Raises:
        DataError: a label that is needed has fewer than 2 units.
    """
    counts = {label: sum(label in unit.labels for unit in units) for label in LABEL_NAMES}
    lacking = [LABEL_NAMES[label] for label in needed if counts[label] < 2]
    if lacking:
        raise DataError(
            "cannot be split into train and validation: expected at least 2 different images or groups of "
            f"{'each class' if len(needed) > 1 else 'OK parts'}, "
            f"received {counts[OK]} OK and {counts[DEFECTIVE]} defective; add images that are {' and '.join(lacking)}"
        )
