"""Assign images to cross-validation folds. Images keep their fold when others are added."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from math import ceil

from defect_detection.data.parts import PartSamples, join
from defect_detection.data.samples import DEFECTIVE, OK, Sample
from defect_detection.errors import DataError

MOST_FOLDS = 5
Kind = tuple[int] | tuple[int, str]  # a label, or a label and a defect type
LABEL_NAMES = {OK: "OK", DEFECTIVE: "defective"}


def assign_folds(
    samples: Sequence[Sample], seed: int, needed: Sequence[int] = (OK, DEFECTIVE)
) -> tuple[int, ...]:
    """Return for each sample the fold that it is held out in: at most `MOST_FOLDS`, fewer where a label has fewer parts.

    Images of one part share a fold. The hash of a part's name determines its preferred folds, so most
    images stay in their fold when others are added. A fold takes no more than its share of a label or defect type, as nearly as
    parts allow, so that all are spread evenly.

    Args:
        needed: labels that each fold must hold.

    Raises:
        DataError: a label that is needed has fewer than 2 parts.
    """
    parts = sorted(join(samples), key=lambda part: part.rank(seed))
    check_can_split(parts, needed)
    count = min(MOST_FOLDS, *(sum(label in part.labels for part in parts) for label in needed))
    fold_of = _preferred(parts, count, seed)
    _balance(_by_kind(parts), fold_of, count)
    folds = {sample.path: fold_of[part.name] for part in parts for sample in part.samples}
    return tuple(folds[sample.path] for sample in samples)


def _preferred(parts: Sequence[PartSamples], count: int, seed: int) -> dict[str, int]:
    """Return the fold that each part likes best of those with room for it (hashing with bounded loads).

    Mirrokni, Thorup, Zadimoghaddam, "Consistent hashing with bounded loads" (2018): who comes first by hash chooses first.
    """
    held = {part.name: Counter(kind for sample in part.samples for kind in _kinds(sample)) for part in parts}
    totals: Counter[Kind] = Counter()
    largest: Counter[Kind] = Counter()
    for own in held.values():
        totals.update(own)
        largest |= own
    room = {kind: max(largest[kind], ceil(total / count)) for kind, total in totals.items()}
    loads: list[Counter[Kind]] = [Counter() for _ in range(count)]
    fold_of = {}
    for part in parts:
        own = held[part.name]
        liked = sorted(range(count), key=lambda fold: part.rank(f"{seed} {fold}"))
        fits = (fold for fold in liked if all(loads[fold][kind] + n <= room[kind] for kind, n in own.items()))
        chosen = next(fits, None)
        if chosen is None:
            chosen = min(
                liked, key=lambda fold: sum(n * loads[fold][k] / totals[k] ** 2 for k, n in own.items())
            )
        loads[chosen].update(own)
        fold_of[part.name] = chosen
    return fold_of


def _by_kind(parts: Sequence[PartSamples]) -> dict[Kind, list[PartSamples]]:
    """Return the parts of each defect type, then of each label; the last ones are balanced best."""
    holding: dict[Kind, list[PartSamples]] = defaultdict(list)
    for part in parts:
        for kind in {kind for sample in part.samples for kind in _kinds(sample)}:
            holding[kind].append(part)
    return dict(sorted(holding.items(), key=lambda item: (-len(item[0]), item[0])))


def _balance(holding: dict[Kind, list[PartSamples]], fold_of: dict[str, int], count: int) -> None:
    """Move parts until each fold has half its share of each kind, and one part at least where there are enough."""
    for kind, parts in holding.items():
        least = max(len(parts) // (2 * count), min(len(parts) // count, 1))
        counts = Counter(fold_of[part.name] for part in parts)
        for fold in range(count):
            while counts[fold] < least:
                moved = _spare_part(kind, fold, least, holding, fold_of)
                if moved is None:
                    break
                counts[fold_of[moved.name]] -= 1
                counts[fold] += 1
                fold_of[moved.name] = fold


def _spare_part(
    kind: Kind,
    fold: int,
    least: int,
    holding: dict[Kind, list[PartSamples]],
    fold_of: dict[str, int],
) -> PartSamples | None:
    """Return the simplest part of the kind from the fold with most of it, where that fold keeps a part of each label."""
    held = {label: Counter(fold_of[part.name] for part in holding.get((label,), ())) for label in LABEL_NAMES}
    for giver, number in Counter(fold_of[part.name] for part in holding[kind]).most_common():
        spare = [
            part
            for part in holding[kind]
            if fold_of[part.name] == giver and all(held[label][giver] > 1 for label in part.labels)
        ]
        if giver != fold and number > least and spare:
            return min(spare, key=lambda part: (len(part.labels), len(part.samples)))
    return None


def _kinds(sample: Sample) -> tuple[Kind, Kind]:
    return (sample.label,), (sample.label, sample.defect_type)


def check_can_split(parts: Sequence[PartSamples], needed: Sequence[int] = (OK, DEFECTIVE)) -> None:
    """Refuse parts that lack a label that is needed, or have it once: then one side of a split would lack it.

    Raises:
        DataError: a label that is needed has fewer than 2 parts.
    """
    counts = {label: sum(label in part.labels for part in parts) for label in LABEL_NAMES}
    lacking = [LABEL_NAMES[label] for label in needed if counts[label] < 2]
    if lacking:
        raise DataError(
            "cannot be split into train and validation: expected at least 2 different images or groups of "
            f"{'each class' if len(needed) > 1 else 'OK parts'}, "
            f"received {counts[OK]} OK and {counts[DEFECTIVE]} defective; add images that are {' and '.join(lacking)}"
        )
