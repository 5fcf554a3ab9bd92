"""Draw what annotations mark: polygons, runs of pixels, masks in files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from defect_detection.data.bounds import DEFAULT_LIMITS, Limits
from defect_detection.data.images import read_image
from defect_detection.errors import DataError

Ring: TypeAlias = np.ndarray
"""float array of shape (n, 2): the corners x, y of an outline, in pixels; (0, 0) is the top left corner of the image."""

VOID = (224, 224, 192)  # of Pascal VOC masks: pixels that are neither
_ROUNDING_PX = 1.0  # beyond the edge of the image, which tools that count from 1 or round write


@dataclass(frozen=True, slots=True)
class Polygon:
    """An outline. A box is one of four corners."""

    ring: Ring

    def problem(self, width: int, height: int) -> str:
        (left, top), (right, bottom) = self.ring.min(0), self.ring.max(0)
        if right <= left or bottom <= top:
            return f"has no area: left {left:g}, top {top:g}, right {right:g}, bottom {bottom:g}"
        margin = _ROUNDING_PX
        if min(left, top) < -margin or right > width + margin or bottom > height + margin:
            return f"reaches from ({left:g}, {top:g}) to ({right:g}, {bottom:g}), outside its image of {width} x {height} px"
        return ""

    def covers(self, width: int, height: int) -> bool:
        is_box = len(self.ring) == 4 and len(np.unique(self.ring, axis=0)) == 4
        corners = np.array([(0, 0), (width, height)])
        ends = np.array([self.ring.min(0), self.ring.max(0)])
        return is_box and bool(np.all(np.abs(ends - corners) < _ROUNDING_PX / 2))

    def draw(self, width: int, height: int) -> np.ndarray:
        """Return the pixels whose centre lies inside; of an outline thinner than that, the pixels that it touches."""
        inside = _filled(self.ring, width, height)
        return inside if inside.any() else _traced(self.ring, width, height)


@dataclass(frozen=True, slots=True)
class Scaled:
    """A polygon in fractions of its image, whose size is known only from the image."""

    polygon: Polygon

    def of_size(self, width: int, height: int) -> Polygon:
        return Polygon(self.polygon.ring * (width, height))

    def problem(self, width: int, height: int) -> str:
        return self.of_size(width, height).problem(width, height)

    def covers(self, width: int, height: int) -> bool:
        return self.of_size(width, height).covers(width, height)

    def draw(self, width: int, height: int) -> np.ndarray:
        return self.of_size(width, height).draw(width, height)


@dataclass(frozen=True, slots=True)
class Runs:
    """Alternating counts of unmarked and marked pixels of an image of (height, width). by_columns: as COCO counts."""

    counts: np.ndarray
    size: tuple[int, int]
    by_columns: bool = True

    def problem(self, width: int, height: int) -> str:
        if self.size != (height, width):
            return f"is of {self.size[1]} x {self.size[0]} px, expected {width} x {height} px as its image"
        most = width * height
        if ((self.counts < 0) | (self.counts > most)).any() or self.counts.sum() != most:
            return f"has runs of {self.counts.sum()} pixels in all, expected {most}"
        return "" if self.counts[1::2].any() else "marks no pixel"

    def covers(self, width: int, height: int) -> bool:
        return False

    def draw(self, width: int, height: int) -> np.ndarray:
        flat = np.repeat(np.arange(len(self.counts)) % 2 == 1, self.counts)
        return flat.reshape(width, height).T if self.by_columns else flat.reshape(height, width)


@dataclass(frozen=True, slots=True)
class Inset:
    """Runs of pixels in a part of the image, whose corner is at `left` and `top`."""

    runs: Runs
    left: int
    top: int

    def problem(self, width: int, height: int) -> str:
        inner_height, inner_width = self.runs.size
        right, bottom = self.left + inner_width, self.top + inner_height
        if min(self.left, self.top, inner_width, inner_height) < 0 or right > width or bottom > height:
            return f"reaches from ({self.left}, {self.top}) to ({right}, {bottom}), outside its image of {width} x {height} px"
        return self.runs.problem(inner_width, inner_height)

    def covers(self, width: int, height: int) -> bool:
        return False

    def draw(self, width: int, height: int) -> np.ndarray:
        drawn = np.zeros((height, width), bool)
        inner_height, inner_width = self.runs.size
        place = np.s_[self.top : self.top + inner_height, self.left : self.left + inner_width]
        drawn[place] = self.runs.draw(inner_width, inner_height)
        return drawn


@dataclass(frozen=True, slots=True)
class MaskFile:
    """An image in which everything that is not black is marked."""

    path: Path
    limits: Limits = DEFAULT_LIMITS

    def problem(self, width: int, height: int) -> str:
        try:
            marked = self.draw(width, height)
        except DataError as error:
            return f"cannot be used: {error}"
        if marked.shape != (height, width):
            return (
                f"is of {marked.shape[1]} x {marked.shape[0]} px, expected {width} x {height} px as its image"
            )
        return "" if marked.any() else "marks no pixel; remove it"

    def covers(self, width: int, height: int) -> bool:
        return False

    def draw(self, width: int, height: int) -> np.ndarray:
        pixels = read_image(self.path, limits=self.limits)
        return np.asarray(pixels.any(axis=2) & (pixels != VOID).any(axis=2))


class Area(Protocol):
    """What an annotation marks of its image."""

    def problem(self, width: int, height: int) -> str:
        """Return why it does not fit an image of this size; "" if it does. Call it before `draw`."""

    def covers(self, width: int, height: int) -> bool:
        """Check whether it is the outline of the whole image, which says nothing about the place of a defect."""

    def draw(self, width: int, height: int) -> np.ndarray:
        """Return the marked pixels, bool (height, width)."""


def box(left: float, top: float, width: float, height: float) -> Polygon:
    """Return a box. A negative size has no area, which `problem` reports."""
    right, bottom = left + max(width, 0), top + max(height, 0)
    return Polygon(np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float))


def turned(ring: Ring, degrees: float, around: tuple[float, float]) -> Ring:
    """Turn an outline clockwise, as it is seen in the image."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray((ring - around) @ turn + around)


def coco_counts(text: str, where: str) -> np.ndarray:
    """Decode the compressed runs of COCO: numbers of 5 bits a character, from the third on relative to the one before the last."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 40:
            raise DataError(f"{where}: expected compressed runs of COCO, received {text[:40]!r}")
        value |= (code & 0x1F) << shift
        shift += 5
        if not code & 0x20:
            value -= (1 << shift) if code & 0x10 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return np.array(counts, np.int64)


def _filled(ring: Ring, width: int, height: int) -> np.ndarray:
    """Fill by the even-odd rule: each edge switches the pixels to the right of it."""
    switches = np.zeros((height, width + 1), np.uint8)
    for corners in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        (x0, y0), (x1, y1) = sorted(corners, key=lambda corner: float(corner[1]))
        if y0 == y1:
            continue
        rows = np.arange(max(int(np.ceil(y0 - 0.5)), 0), min(int(np.ceil(y1 - 0.5)), height))
        x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
        switches[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(int)] ^= 1
    return np.asarray(np.bitwise_xor.accumulate(switches, axis=1)[:, :width].astype(bool))


def _traced(ring: Ring, width: int, height: int) -> np.ndarray:
    drawn = np.zeros((height, width), bool)
    for start, end in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        steps = int(np.abs(end - start).max() * 2) + 2
        x, y = np.linspace(start, end, steps).T
        drawn[
            np.clip(y.astype(int), 0, height - 1),
            np.clip(x.astype(int), 0, width - 1),
        ] = True
    return drawn
