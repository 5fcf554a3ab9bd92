"""Break down mistakes by part and by defect type."""

from collections.abc import Mapping, Sequence

import numpy as np

from defect_detection.evaluation.parts import effective, numbered
from defect_detection.evaluation.rates import Estimate, Frozen, Rate, clopper_pearson

MOST_PARTS = 10


class GroupSlice(Frozen):
    """The mistakes in one part; a rate is None where the part has no such image."""

    name: str
    wrong: Rate
    escape: Rate | None
    overkill: Rate | None


class Groups(Frozen):
    """The test images by part.

    total, several: how many parts there are, and how many of them hold several images.
    with_mistakes: how many of `several` hold an image on the wrong side.
    escape, overkill: the two rates with intervals that allow for images of one part being alike; None without such an image.
    worst: parts of several images, from the one that is most surely bad (by the lower end of its interval).
    """

    total: int
    several: int
    with_mistakes: int
    escape: Estimate | None
    overkill: Estimate | None
    worst: tuple[GroupSlice, ...]


class DefectType(Frozen):
    """One type of defect: how many images of it escaped, and how often the evidence pointed at it (None without masks).

    hardest: path and score of the image that looks most like an OK one to the model.
    """

    name: str
    escape: Rate
    pointing: Rate | None
    hardest: str
    hardest_score: float


def by_part(
    called: np.ndarray,
    labels: np.ndarray,
    parts: Sequence[str],
    *,
    confidence: float = 0.95,
    most: int = MOST_PARTS,
) -> Groups | None:
    """Return the mistakes by part; None where no part has several images.

    Args:
        called: bool array of shape (n_images,), called defective.
        labels: int array of shape (n_images,), 1 = defective, 0 = OK.
        parts: name of each image's part, "" = its own part.
        most: parts that are listed.
    """
    names = np.asarray(parts)
    part = numbered(names, len(labels))
    size, wrong = np.bincount(part), called != (labels == 1)
    several = np.flatnonzero(size > 1)
    if not len(several):
        return None
    mistakes = np.bincount(part, wrong)
    slices = [_slice(part == one, names, called, labels, confidence) for one in several if mistakes[one]]
    slices.sort(key=lambda one: (-one.wrong.low, -one.wrong.count, one.name))
    return Groups(
        total=len(size),
        several=len(several),
        with_mistakes=len(slices),
        escape=rate_by_part(wrong[labels == 1], names[labels == 1], confidence) if labels.any() else None,
        overkill=rate_by_part(wrong[labels == 0], names[labels == 0], confidence)
        if not labels.all()
        else None,
        worst=tuple(slices[:most]),
    )


def _slice(
    own: np.ndarray, names: np.ndarray, called: np.ndarray, labels: np.ndarray, confidence: float
) -> GroupSlice:
    called, labels = called[own], labels[own]
    defective, ok = labels == 1, labels == 0
    return GroupSlice(
        name=str(names[own][0]),
        wrong=Rate.of((called != defective).sum(), len(labels), confidence),
        escape=Rate.of((~called & defective).sum(), defective.sum(), confidence) if defective.any() else None,
        overkill=Rate.of((called & ok).sum(), ok.sum(), confidence) if ok.any() else None,
    )


def rate_by_part(wrong: np.ndarray, parts: Sequence[str] | np.ndarray, confidence: float = 0.95) -> Estimate:
    """Return the share that is wrong, with an interval that counts parts.

    The exact interval of as many independent images as tell the same (`parts.effective`). Never more than there are images, and as
    many as there are parts where none or all are wrong. Parts of one image give the exact interval of the images.

    Args:
        wrong: bool array of shape (n_images,), at least one image.
        parts: name of each image's part, "" = its own part.
    """
    rate = float(wrong.mean())
    n = effective(wrong, numbered(parts, len(wrong)), confidence)
    low, high = clopper_pearson(rate * n, n, confidence)
    return Estimate(value=rate, low=low, high=high, confidence=confidence)


def by_defect_type(
    escapes: Mapping[str, Rate],
    pointing: Mapping[str, Rate],
    paths: Sequence[str],
    scores: np.ndarray,
    labels: np.ndarray,
    defect_types: Sequence[str],
) -> tuple[DefectType, ...]:
    """Join what is known of each type, the one with the highest escape rate first.

    Args:
        escapes, pointing: by the name of the type; images without a name count as "defective".
    """
    names = np.array([name or "defective" for name in defect_types])
    rows = []
    for name, rate in escapes.items():
        own = np.flatnonzero((labels == 1) & (names == name))
        hardest = own[np.argmin(scores[own])]
        rows.append(
            DefectType(
                name=name,
                escape=rate,
                pointing=pointing.get(name),
                hardest=paths[hardest],
                hardest_score=float(scores[hardest]),
            )
        )
    return tuple(sorted(rows, key=lambda row: (-row.escape.value, -row.escape.total, row.name)))
