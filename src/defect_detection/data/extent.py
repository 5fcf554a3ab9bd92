"""Where an evidence map lies on the image that it belongs to: from cells to pixels of the upright image."""

import math
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle in whole pixels of the upright image; right and bottom are the first column and row outside it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top


class Extent(NamedTuple):
    """The rectangle of the upright image that an evidence map covers, in pixels. Padding lies outside the region of the image.

    Every cell of the map covers the same share of it. region: what the model sees of the image. size: width and height of the image.
    """

    left: float
    top: float
    width: float
    height: float
    region: Box
    size: tuple[int, int]

    @classmethod
    def whole(cls, size: tuple[int, int]) -> "Extent":
        """Return the extent of a map that is stretched over a whole image of (width, height) pixels."""
        width, height = size
        return cls(0.0, 0.0, float(width), float(height), Box(0, 0, width, height), size)

    @property
    def shares(self) -> list[float]:
        """Return left, top, width and height in fractions of the image; padding can lie outside 0 to 1."""
        width, height = self.size
        return [self.left / width, self.top / height, self.width / width, self.height / height]

    def box_of(self, shape: tuple[int, int], rows: slice, columns: slice) -> Box:
        """Return the pixels of the image that a block of cells covers, without padding.

        Args:
            shape: rows and columns of the whole evidence map.
            rows, columns: of the block, with start and stop.
        """
        x, y = self.width / shape[1], self.height / shape[0]
        return Box(
            max(math.floor(self.left + columns.start * x), self.region.left),
            max(math.floor(self.top + rows.start * y), self.region.top),
            min(math.ceil(self.left + columns.stop * x), self.region.right),
            min(math.ceil(self.top + rows.stop * y), self.region.bottom),
        )
