"""What a model sees of an image: a region of it, fitted into the size of its input, without the pixels that a mask hides.

A framing belongs to a model and travels on its card. Training, inspection and reports read every image through it.
"""

import base64
import hashlib
from functools import lru_cache
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict

from defect_detection.data.extent import Box, Extent
from defect_detection.errors import ImageError

CELL = 16  # px of the input per cell of the evidence map
OVERVIEW = (224, 224)  # height and width
HIDDEN = 128  # gray level of all that is hidden
_SHAPE_TOLERANCE = 0.02  # of width / height between an image and the mask made for its like

Size = tuple[int, int]


class FittedRegion(NamedTuple):
    """Where a region lies in the model's input: its size there, and the padding to its left and above it."""

    width: int
    height: int
    left: int
    top: int


class Tiling(BaseModel):
    """How an image is cut: tiles of `size` px that share `overlap` px with their neighbours, after scaling by `scale`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int
    overlap: int
    scale: float = 1.0

    def scaled(self, width: int, height: int) -> Size:
        """Return (width, height) of a region after scaling.

        Raises:
            ImageError: a tile is larger.
        """
        size = max(round(width * self.scale), 1), max(round(height * self.scale), 1)
        if min(size) < self.size:
            raise ImageError(
                f"expected at least {self.size} x {self.size} px, the size of a tile (data.tiles.size), received {_px(size)}"
                f"{' after scaling' if self.scale != 1 else ''}"
            )
        return size

    def starts(self, length: int) -> list[int]:
        """Return where tiles begin along a side. The last one ends at the next multiple of 16 px, so that all cells align."""
        last = -(-length // CELL) * CELL - self.size
        step = (self.size - self.overlap) // CELL * CELL
        return [*range(0, last, step), last]


class Framing(BaseModel):
    """What a model sees of an image.

    size: height and width of the model's input. region: left, top, width and height, in pixels of an image of the size `made_for`
    (width, height), or in fractions where all are at most 1; None: the whole image.
    content: height and width that the usual image fills of the input, in the middle; the rest is padding. None: images are stretched.
    hidden: PNG of the input's size in base64, white where a mask hides the image; with tiles, of the size of the scaled region.
    tiles: how the region is cut into tiles, each of the input's size; None: it is one input.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Size
    region: tuple[float, float, float, float] | None = None
    made_for: Size | None = None
    content: Size | None = None
    hidden: str | None = None
    tiles: Tiling | None = None

    @classmethod
    def plain(cls, image_size: int | Size) -> "Framing":
        """Return the framing that stretches the whole image."""
        return cls(size=(image_size, image_size) if isinstance(image_size, int) else image_size)

    @property
    def is_plain(self) -> bool:
        return self.region is None and self.content is None and self.hidden is None and self.tiles is None

    @property
    def image_size(self) -> int | Size:
        """The size as the settings have it: one number for a square."""
        return self.size[0] if self.size[0] == self.size[1] else self.size

    @property
    def key(self) -> str:
        """A short digest for caches; empty where the whole image is stretched."""
        return "" if self.is_plain else hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    @property
    def shown(self) -> np.ndarray | None:
        """bool array of the input's size, False where a mask hides the image; None without a mask. It is shared: do not change it."""
        return None if self.hidden is None else _shown(self.hidden)

    @property
    def overview(self) -> "Framing":
        """The region as one small picture: for the audit, reports and comparison with the training images."""
        return (
            self if self.tiles is None else Framing(size=OVERVIEW, region=self.region, made_for=self.made_for)
        )

    @property
    def seen(self) -> np.ndarray | None:
        """bool array of the input's size, True where a pixel counts: neither padding nor hidden; None where all count."""
        if self.tiles:  # hidden pixels are gray, and their cells are left out of the evidence
            return None
        height, width = self.content or self.size
        top, left = (self.size[0] - height) // 2, (self.size[1] - width) // 2
        seen = np.zeros(self.size, bool)
        seen[top : top + height, left : left + width] = True
        if self.shown is not None:
            seen &= self.shown
        return None if seen.all() else seen

    def box(self, width: int, height: int) -> Box:
        """Return the region of an upright image of this size.

        Raises:
            ImageError: the region, or the mask, is made for images of another size.
        """
        if self.region is None or max(self.region) <= 1:
            box = _share(self.region or (0, 0, 1, 1), width, height)
        else:
            if (width, height) != self.made_for:
                raise ImageError(
                    f"expected {_px(self.made_for)}, the size that the model's data.region in pixels is made for, received "
                    f"{_px((width, height))}; give the region in fractions and train again to allow other sizes"
                )
            left, top, wide, high = map(int, self.region)
            box = Box(left, top, left + wide, top + high)
        self._check_shape(box, (width, height))
        return box

    def _check_shape(self, box: Box, size: Size) -> None:
        if self.hidden is None or self.made_for is None:
            return
        usual = self.model_copy(update={"hidden": None}).box(*self.made_for)
        ratio = (box.width * usual.height) / (box.height * usual.width)
        if abs(ratio - 1) > _SHAPE_TOLERANCE:
            raise ImageError(
                f"expected the shape of {_px(self.made_for)}, which the model's data.ignore_mask is made for, received {_px(size)}"
            )

    def fitted(self, width: int, height: int) -> FittedRegion:
        """Return where a region of this size lies in the input."""
        if self.content is None:
            return FittedRegion(self.size[1], self.size[0], 0, 0)
        inner = fit_into(self.content, (width, height))
        return FittedRegion(*inner, (self.size[1] - inner[0]) // 2, (self.size[0] - inner[1]) // 2)

    def extent(self, width: int, height: int) -> Extent:
        """Return the pixels of an upright image of this size that an evidence map of the model covers."""
        box = self.box(width, height)
        if self.tiles:
            wide, high = self.tiles.scaled(box.width, box.height)
            x, y = box.width / wide, box.height / high
            across, down = (-(-length // CELL) * CELL for length in (wide, high))
            return Extent(float(box.left), float(box.top), across * x, down * y, box, (width, height))
        place = self.fitted(box.width, box.height)
        x, y = box.width / place.width, box.height / place.height
        left, top = box.left - place.left * x, box.top - place.top * y
        return Extent(left, top, self.size[1] * x, self.size[0] * y, box, (width, height))

    def apply(self, region: Image.Image) -> Image.Image:
        """Fit a region of an image, gray or RGB, into the input."""
        place = self.fitted(*region.size)
        inner = region.resize((place.width, place.height), Image.Resampling.BILINEAR)
        if inner.size == self.size[::-1] and self.shown is None:
            return inner
        pixels = self.padded(np.asarray(inner), place)
        if self.shown is not None:
            pixels[~self.shown] = HIDDEN
        return Image.fromarray(pixels)

    def padded(self, inner: np.ndarray, place: FittedRegion) -> np.ndarray:
        """Return values over the content as values over the input: the edge goes on into the padding."""
        below, right = self.size[0] - place.top - place.height, self.size[1] - place.left - place.width
        ends = [(place.top, below), (place.left, right), (0, 0)][: inner.ndim]
        return np.pad(inner, ends, mode="edge")


def fit_into(content: Size, size: Size) -> Size:
    """Return the largest (width, height) of the shape of `size` that fits into content, (height, width)."""
    scale = min(content[1] / size[0], content[0] / size[1])
    width, height = (max(1, round(length * scale)) for length in size)
    return min(width, content[1]), min(height, content[0])


def png_of_hidden(hidden: np.ndarray) -> str:
    """Return a bool array as `Framing.hidden` holds it."""
    Image.fromarray(hidden).save(buffer := BytesIO(), "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


@lru_cache(maxsize=8)
def _shown(hidden: str) -> np.ndarray:
    with Image.open(BytesIO(base64.b64decode(hidden))) as picture:
        return ~np.asarray(picture.convert("1"), bool)


def _share(region: tuple[float, float, float, float], width: int, height: int) -> Box:
    left, top, wide, high = region
    first = min(round(left * width), width - 1), min(round(top * height), height - 1)
    last = round((left + wide) * width), round((top + high) * height)
    return Box(*first, max(last[0], first[0] + 1), max(last[1], first[1] + 1))


def _px(size: Size | None) -> str:
    return f"{size[0]} x {size[1]} px" if size else "another size"
