"""Read a large image tile by tile: it is decoded once into a temporary file, of which a band of rows is in memory at a time."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from defect_detection.data import levels
from defect_detection.data.bounded import Source, bounded
from defect_detection.data.bounds import DEFAULT_LIMITS, Limits
from defect_detection.data.framing import CELL, HIDDEN, OVERVIEW, Framing
from defect_detection.data.images import Pages, open_page
from defect_detection.data.levels import in_mode, levels_of
from defect_detection.data.upright import STRIP_PIXELS, Strips, cropped, upright_strips, whole_of
from defect_detection.errors import ImageError
from defect_detection.files.unfinished import working_folder


class Tile(NamedTuple):
    """A tile: its place in cells of the evidence map, and pixels, uint8 (size, size, 3), RGB."""

    number: int
    row: int
    column: int
    pixels: np.ndarray


class Large:
    """The scaled region of an image, in a file of `height` rows of `width` pixels with 1 or 3 channels of 8 bits."""

    def __init__(
        self, path: Path, shape: tuple[int, int, int], size: tuple[int, int], framing: Framing
    ) -> None:
        assert framing.tiles is not None
        self.size, self.extent = size, framing.extent(*size)
        self._path, self._shape = path, shape
        self._framing, self._tiling = framing, framing.tiles

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the evidence map."""
        return math.ceil(self._shape[0] / CELL), math.ceil(self._shape[1] / CELL)

    @property
    def shown(self) -> np.ndarray | None:
        """Which cells a mask leaves at least a pixel of, bool; None: all are shown."""
        if self._framing.shown is None:
            return None
        padded = np.zeros((self.cells[0] * CELL, self.cells[1] * CELL), bool)
        padded[: self._shape[0], : self._shape[1]] = self._framing.shown
        return np.asarray(padded.reshape(self.cells[0], CELL, self.cells[1], CELL).any((1, 3)))

    def tiles(self, wanted: Callable[[int], bool] = lambda number: True) -> Iterator[Tile]:
        """Yield the tiles that a mask does not hide completely, row by row.

        Args:
            wanted: tells of a tile's number whether it is.
        """
        height, width, _ = self._shape
        number, size = -1, self._tiling.size
        with self._path.open("rb") as file:
            for top in self._tiling.starts(height):
                band: np.ndarray | None = None
                for left in self._tiling.starts(width):
                    number += 1
                    part = slice(top, top + size), slice(left, left + size)
                    if not wanted(number) or not self.is_shown(part):
                        continue
                    band = self._rows(file, top, size) if band is None else band
                    yield Tile(number, top // CELL, left // CELL, self._cut(band, left, part))

    def is_shown(self, part: tuple[slice, slice]) -> bool:
        """Whether a mask leaves a pixel of some rows and columns of the scaled region."""
        shown = self._framing.shown
        return shown is None or bool(shown[part].any())

    @property
    def scaled(self) -> tuple[int, int]:
        """Height and width of the scaled region."""
        return self._shape[:2]

    def parts(self) -> list[tuple[slice, slice]]:
        """Return the rows and columns of the scaled region in each tile, by its number."""
        tops, lefts = (self._tiling.starts(length) for length in self.scaled)
        size = self._tiling.size
        return [(slice(top, top + size), slice(left, left + size)) for top in tops for left in lefts]

    def overview(self) -> np.ndarray:
        """Return the region as one small picture, uint8 (224, 224, 3), RGB: every so many rows and columns, then resized."""
        height, width, channels = self._shape
        step = max(1, min(height // (2 * OVERVIEW[0]), width // (2 * OVERVIEW[1])))
        with self._path.open("rb") as file:
            rows = [self._rows(file, top, 1)[0, ::step] for top in range(0, height, step)]
        picture = Image.fromarray(np.stack(rows)[..., 0] if channels == 1 else np.stack(rows))
        return np.array(picture.convert("RGB").resize(OVERVIEW[::-1], Image.Resampling.BILINEAR))

    def _rows(self, file: IO[bytes], top: int, count: int) -> np.ndarray:
        _, width, channels = self._shape
        file.seek(top * width * channels)
        values = np.fromfile(file, np.uint8, min(count, self._shape[0] - top) * width * channels)
        return values.reshape(-1, width, channels)

    def _cut(self, band: np.ndarray, left: int, part: tuple[slice, slice]) -> np.ndarray:
        size = self._tiling.size
        pixels = band[:, left : left + size]
        if self._framing.shown is not None:
            pixels = np.where(self._framing.shown[part][..., np.newaxis], pixels, np.uint8(HIDDEN))
        ends = (0, size - pixels.shape[0]), (0, size - pixels.shape[1]), (0, 0)
        pixels = np.pad(pixels, ends, mode="edge")
        return np.ascontiguousarray(np.broadcast_to(pixels, (size, size, 3)))


@contextmanager
def opened_large(
    source: Source,
    framing: Framing,
    limits: Limits = DEFAULT_LIMITS,
    *,
    pages: Pages = "refuse",
    bit_depth: int | None = None,
) -> Iterator[Large]:
    """Decode the region of an image, which is removed again after the block.

    Raises:
        ImageError: as `read_image`; or a tile is larger than the region.
    """
    choose = partial(_only_page, pages=pages)
    with working_folder() as folder:
        path = folder / "rows"
        shape, size = bounded(_write_rows, "full", source, limits, framing, bit_depth, choose, path)
        yield Large(path, shape, size, framing)


def _only_page(frames: list[int], pages: Pages) -> list[int]:
    if len(frames) > 1 and pages != "first":
        raise ImageError(
            f"{len(frames)} pages; tiles are cut from one page. Save each page as a file, or set data.pages to first"
        )
    return frames[:1]


def _write_rows(
    source: Source,
    file: IO[bytes],
    limits: Limits,
    framing: Framing,
    bit_depth: int | None,
    choose: Callable[[list[int]], list[int]],
    path: Path,
) -> tuple[tuple[int, int, int], tuple[int, int]]:
    """Write the rows; return their height, width and channels, and the (width, height) of the whole image."""
    with open_page(source, file, limits, choose) as (image, low_bytes):
        meaning = levels_of(image, bit_depth)
        low = low_bytes() if levels.needs_low_bytes(image, meaning) else None
        size, strips = upright_strips(image, meaning, low)
        box = framing.box(*size)
        assert framing.tiles is not None
        width, height = framing.tiles.scaled(box.width, box.height)
        _check_mask(framing, (width, height))
        if framing.tiles.scale != 1:
            region = cropped(whole_of(size, strips), box).resize((width, height), Image.Resampling.BILINEAR)
            strips, box = iter([(0, region)]), box._replace(left=0, top=0, right=width, bottom=height)
        channels = 0
        with path.open("wb") as rows:
            for band in _bands(strips, box):
                pixels = np.asarray(band if band.mode == "L" else in_mode("RGB", band))
                channels = 1 if pixels.ndim == 2 else 3
                rows.write(np.ascontiguousarray(pixels).data)
        return (height, width, channels), size


def _check_mask(framing: Framing, size: tuple[int, int]) -> None:
    if framing.shown is not None and framing.shown.shape != size[::-1]:
        high, wide = framing.shown.shape
        raise ImageError(
            f"expected a region of {wide} x {high} px (scaled), which the model's data.ignore_mask is made for, received "
            f"{size[0]} x {size[1]} px"
        )


def _bands(strips: Strips, box: tuple[int, int, int, int]) -> Iterator[Image.Image]:
    """Yield the region in bands of few rows."""
    left, top, right, bottom = box
    rows = max(1, STRIP_PIXELS // (right - left))
    for first, strip in strips:
        begin, end = max(top - first, 0), min(bottom - first, strip.height)
        for start in range(begin, end, rows):
            yield cropped(strip, (left, start, right, min(start + rows, end)))
