"""Find where the defects of an image are, and how large: connected areas of its evidence, in pixels of the upright image."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from defect_detection.data.extent import Box, Extent

if TYPE_CHECKING:
    from defect_detection.config import Config

LEAST = 0.5  # of the way from a map's median to its maximum: no box reaches further down


@dataclass(frozen=True)
class BoxRules:
    """How areas become boxes. mm_per_px: size of a pixel of the original image; None: unknown. min_px: smaller areas are ignored."""

    mm_per_px: float | None = None
    min_px: int = 0

    @classmethod
    def of(cls, config: "Config") -> "BoxRules":
        return cls(config.data.mm_per_px, config.evaluation.min_defect_px)


@dataclass(frozen=True)
class DefectBox:
    """One connected area of evidence.

    box: the rectangle around it. area_px: of its cells, in pixels of the upright image. share: of the odds of all cells of the image.
    mm_per_px: size of a pixel; None: unknown.
    """

    box: Box
    area_px: int
    share: float
    mm_per_px: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return box (left, top, width, height), area and share; with a known size of a pixel also in mm and mm²."""
        left, top, right, bottom = self.box
        box = [left, top, right - left, bottom - top]
        fields = {"box": box, "area_px": self.area_px, "share": round(self.share, 3)}
        if self.mm_per_px is None:
            return fields
        scale = self.mm_per_px
        return fields | {
            "box_mm": [round(scale * one, 3) for one in box],
            "area_mm2": round(scale**2 * self.area_px, 3),
        }


@dataclass(frozen=True)
class Boxes:
    """The boxes of an image, strongest first, and how many areas were too small (`evaluation.min_defect_px`)."""

    found: tuple[DefectBox, ...] = ()
    ignored: int = 0

    def to_json(self) -> list[dict[str, Any]]:
        return [one.to_json() for one in self.found]


ANY_SIZE = BoxRules()
NO_BOXES = Boxes()


def find_boxes(
    evidence: np.ndarray, score: float, threshold: float, extent: Extent, rules: BoxRules = ANY_SIZE
) -> Boxes:
    """Return the boxes of one image; none where the score is below the threshold, or the evidence is not finite (a damaged model).

    Args:
        evidence: float array of shape (h, w), log-odds per cell. extent: the pixels that it covers.
    """
    if score < threshold or not np.isfinite(evidence).all():
        return NO_BOXES
    odds = np.exp(evidence - evidence.max())
    odds /= odds.sum()
    areas = _connected(evidence >= level_of(evidence, score, threshold))
    boxes = [_box_of(rows, columns, odds, extent, rules) for rows, columns in areas]
    kept = [one for one in boxes if one.area_px >= rules.min_px]
    kept.sort(key=lambda one: (-one.share, one.box))
    return Boxes(tuple(kept), len(boxes) - len(kept))


def level_of(evidence: np.ndarray, score: float, threshold: float) -> float:
    """Return the evidence from which on a cell belongs to a box.

    level = max(e) - min(m, (max(e) - median(e)) / 2), with the margin m = logit(score) - logit(threshold).

    The score rises with a soft maximum of the cells: m less evidence in every cell takes m from the logit of the score. So
    max(e) - m is what the strongest cell of this image would have at the threshold. At the threshold itself m = 0, and the level
    is the strongest cell. Of an image that is sure, max(e) - m would be below all its cells. So no level is lower than half of
    the peak's height above the median.
    """
    highest = float(evidence.max())
    half = LEAST * (highest - float(np.median(evidence)))
    return highest - min(_margin(score, threshold), half)


def _margin(score: float, threshold: float) -> float:
    if threshold <= 0 or score >= 1:
        return math.inf
    return math.log(score / (1 - score)) - math.log(threshold / (1 - threshold))


def _connected(above: np.ndarray) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """Yield rows and columns of the cells of each area; cells that touch at a corner are connected.

    `scipy.ndimage.label` does the same, but takes longer to import than the first verdict may.
    """
    left = set(zip(*(axis.tolist() for axis in np.nonzero(above)), strict=True))
    while left:
        area = [left.pop()]
        for row, column in area:
            near = {(row + y, column + x) for y in (-1, 0, 1) for x in (-1, 0, 1)} & left
            left -= near
            area += near
        rows, columns = zip(*area, strict=True)
        yield rows, columns


def _box_of(
    rows: Sequence[int], columns: Sequence[int], odds: np.ndarray, extent: Extent, rules: BoxRules
) -> DefectBox:
    box = extent.box_of(odds.shape, slice(min(rows), max(rows) + 1), slice(min(columns), max(columns) + 1))
    cell = extent.width * extent.height / odds.size
    inside = (box.right - box.left) * (box.bottom - box.top)  # padding is no area
    area = min(round(len(rows) * cell), inside)
    return DefectBox(box, area, float(odds[rows, columns].sum()), rules.mm_per_px)
