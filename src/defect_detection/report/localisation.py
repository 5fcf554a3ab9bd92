"""Measure whether the evidence lies on the defect: pointing accuracy with masks, and evidence at the border.

A model that is right for another reason (a mark, a holder, the edge of the picture) fails when that reason goes away.
"""

from collections.abc import Sequence

import numpy as np

from defect_detection.evaluation.parts import numbered, rate_of
from defect_detection.evaluation.rates import Frozen, Rate, percent

_MOSTLY = 0.5  # share of the images whose strongest evidence lies on the defect


class Pointing(Frozen):
    """How often the strongest evidence lies on the defect.

    all, caught: of the defective images with a mask, and of those of them that were called defective.
    by_chance: what a random cell would reach, on average: the share of cells that count as the defect.
    """

    all: Rate
    caught: Rate | None
    by_chance: float
    per_defect_type: dict[str, Rate]


class Border(Frozen):
    """How much of the evidence lies in the outermost cells, of the images that were called defective.

    share: on average; cells: what evenly spread evidence would give, the share of cells that are outermost.
    peaks: how often the strongest cell is an outermost one.
    peaks_off_defect: the same for images whose mask lies elsewhere.
    """

    share: float
    cells: float
    peaks: Rate
    peaks_off_defect: Rate | None


def defect_cells(mask: np.ndarray, shape: tuple[int, int], reach: int = 1) -> np.ndarray:
    """Return the cells that hold a defective pixel, or have such a neighbour within `reach` cells.

    A cell sees more of the image than it covers, and a peak beside a small defect still shows where it is: the pointing game
    allows 15 px (Zhang et al., "Top-down neural attention by excitation backprop", IJCV 126 (2018)); a cell has 16.

    Args:
        mask: bool array of shape (height, width) over the whole image, True = defective.
        shape: (h, w) of the evidence map.

    Returns:
        bool array of shape (h, w).
    """
    cells = np.zeros(shape, bool)
    y, x = np.nonzero(mask)
    cells[y * shape[0] // mask.shape[0], x * shape[1] // mask.shape[1]] = True
    padded = np.pad(cells, reach)
    window = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1,) * 2)  # (h, w, k, k)
    return np.asarray(window.any(axis=(2, 3)))


def points_at(evidence: np.ndarray, cells: np.ndarray) -> bool:
    """Check whether the strongest cell of an evidence map is one of `cells`; both of shape (h, w)."""
    return bool(cells[np.unravel_index(np.argmax(evidence), evidence.shape)])


def pointing(
    hits: Sequence[bool],
    cells: Sequence[np.ndarray],
    called: Sequence[bool],
    defect_types: Sequence[str],
    confidence: float = 0.95,
    parts: Sequence[str] | None = None,
) -> Pointing | None:
    """Return the pointing accuracy of defective images with masks; None without any.

    Args:
        hits: of each image, :func:`points_at`; cells: :func:`defect_cells`.
        called: whether it was called defective.
        defect_types: a name for each.
        parts: name of the part of each, "" = its own part.
    """
    if not hits:
        return None
    hit, caught, names = np.array(hits), np.array(called), np.array(defect_types)
    part = numbered(parts, len(hit))
    return Pointing(
        all=rate_of(hit, part, confidence),
        caught=rate_of(hit[caught], part[caught], confidence) if caught.any() else None,
        by_chance=float(np.mean([each.mean() for each in cells])),
        per_defect_type={
            str(name): rate_of(hit[names == name], part[names == name], confidence)
            for name in np.unique(names)
        },
    )


def border(
    maps: np.ndarray,
    cells: Sequence[np.ndarray | None],
    confidence: float = 0.95,
    parts: Sequence[str] | None = None,
) -> Border | None:
    """Return how much evidence lies in the outermost cells; None where there is no image or a map is too small for a middle.

    What counts is evidence above the map's own median, as the pictures show it.

    Args:
        maps: evidence of the images that were called defective, float array of shape (n_images, h, w).
        cells: of each image its :func:`defect_cells`, or None without a mask.
        parts: name of the part of each, "" = its own part.
    """
    if not len(maps) or min(maps.shape[1:]) < 3:
        return None
    ring, part = _ring(maps.shape[1:]), numbered(parts, len(maps))
    peaks = np.array([points_at(evidence, ring) for evidence in maps])
    inside = np.array([each is not None and not (each & ring).any() for each in cells])
    return Border(
        share=float(np.mean([border_share(evidence) for evidence in maps])),
        cells=float(ring.mean()),
        peaks=rate_of(peaks, part, confidence),
        peaks_off_defect=rate_of(peaks[inside], part[inside], confidence) if inside.any() else None,
    )


def border_share(evidence: np.ndarray) -> float:
    """Return the share of the evidence above the median in the outermost cells; for a flat map, their share of the area."""
    ring = _ring(evidence.shape)
    above = np.maximum(evidence - np.median(evidence), 0).astype(np.float64)
    return float(above[ring].sum() / above.sum()) if above.any() else float(ring.mean())


def evidence_remark(aim: Pointing | None, outermost: Border | None) -> str | None:
    """Return a remark if the evidence does not lie on the defects, else None.

    At the edge: the share of images with their strongest evidence there is higher than chance, by its interval. If masks show
    that the defect lies there, such images do not count. In the background: it lies on the defect in less than half of the images.
    """
    said = []
    edge = outermost and (outermost.peaks_off_defect or (None if aim else outermost.peaks))
    if outermost and edge and edge.low > outermost.cells:
        which = "the images with the verdict defective" + (" whose defect is elsewhere" if aim else "")
        said.append(
            f"at the edge of the picture in {edge} of {which} (by chance in {percent(outermost.cells)} %)"
        )
    if aim and (hits := aim.caught or aim.all).value < _MOSTLY:
        said.append(f"on the defect in only {hits} of the images with a mask")
    if not said:
        return None
    return (
        f"The strongest evidence lies {' and '.join(said)}: the model may react to something other than the defect; see the "
        "section on the evidence"
    )


def _ring(shape: tuple[int, ...]) -> np.ndarray:
    ring = np.ones(shape, bool)
    ring[1:-1, 1:-1] = False
    return ring
