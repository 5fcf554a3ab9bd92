"""Draw the evidence map and the boxes over an image, in the original size of the image."""

from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from defect_detection.data.bounded import bounded
from defect_detection.data.bounds import DEFAULT_LIMITS, Limits
from defect_detection.data.boxes import Boxes
from defect_detection.data.extent import Box, Extent
from defect_detection.data.framing import Framing
from defect_detection.data.images import Choice, Pages, choice_of, decode_pages
from defect_detection.report.charts import OUTLINE
from defect_detection.report.figures import heat_scale, overlay

if TYPE_CHECKING:
    from defect_detection.inference.inspect import Inspection

MOST_PREVIEW = 2048  # px
PreviewPng = tuple[bytes, tuple[int, int]]  # plain, as another process may return it

Note = tuple[str, str]
"""(keyword, text) for the header of a PNG."""


def overlay_png(
    source: Path | bytes,
    inspection: "Inspection",
    *,
    bit_depth: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    pages: Pages = "refuse",
    note: Note | None = None,
    shown: Framing | None = None,
) -> bytes:
    """Return the image upright, at the page that decided, with the evidence as heat and its boxes over it, as a PNG file.

    Args:
        source: what was inspected, with these settings.
        inspection: with evidence.
        shown: darkens what the model with this framing does not see.

    Raises:
        ImageError: the image can't be read (any more).
    """
    assert inspection.evidence is not None and inspection.extent is not None
    scale = heat_scale(inspection.evidence, inspection.verdict)
    choose = choice_of(pages, inspection.page)
    return bounded(_drawn, "full", source, limits, bit_depth, choose, inspection, shown, scale, note)


def preview_png(
    source: Path | bytes,
    number: int,
    *,
    bit_depth: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    pages: Pages = "refuse",
) -> PreviewPng | None:
    """Return a page of an image as a PNG file with at most `MOST_PREVIEW` px a side, and (width, height) of the original.

    None where it has no such page.

    Args:
        number: of the page, from 1.

    Raises:
        ImageError: the image can't be read.
    """
    return bounded(_previewed, "full", source, limits, bit_depth, choice_of(pages, number))


def png_of(pixels: np.ndarray, note: Note | None = None) -> bytes:
    """Return uint8 pixels of shape (height, width, 3), RGB, as a PNG file: quickly rather than small."""
    buffer = BytesIO()
    header = PngInfo()
    if note:
        header.add_text(*note)
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=3, pnginfo=header)
    return buffer.getvalue()


def _drawn(
    source: Path | bytes,
    file: IO[bytes],
    limits: Limits,
    bit_depth: int | None,
    choose: Choice,
    inspection: "Inspection",
    shown: Framing | None,
    scale: tuple[float, float],
    note: Note | None,
) -> bytes:
    assert inspection.evidence is not None and inspection.extent is not None
    (page,) = decode_pages(source, file, limits, None, bit_depth, choose)
    picture = overlay(page.pixels, inspection.evidence, scale, inspection.extent)
    picture = _darkened(picture, shown, inspection.extent) if shown else picture
    draw_boxes(picture, inspection.boxes)
    return png_of(picture, note)


def draw_boxes(pixels: np.ndarray, boxes: Boxes) -> None:
    """Draw the rectangles of boxes into uint8 pixels of shape (height, width, 3), RGB, inside their edges."""
    width = max(1, max(pixels.shape[:2]) // 300)
    for one in boxes.found:
        for left, top, right, bottom in _sides(one.box, width):
            pixels[top:bottom, left:right] = OUTLINE


def _sides(box: Box, width: int) -> tuple[Box, ...]:
    left, top, right, bottom = box
    return (
        Box(left, top, right, min(top + width, bottom)),
        Box(left, max(bottom - width, top), right, bottom),
        Box(left, top, min(left + width, right), bottom),
        Box(max(right - width, left), top, right, bottom),
    )


def _darkened(image: np.ndarray, framing: Framing, extent: Extent) -> np.ndarray:
    """Return the image with a quarter of its light wherever the model does not see it."""
    region, result = extent.region, image // 4
    part = slice(region.top, region.bottom), slice(region.left, region.right)
    result[part] = image[part]
    if framing.shown is not None:
        around = (
            extent
            if framing.tiles is None
            else Extent(*region[:2], region.width, region.height, region, extent.size)
        )
        high, wide = framing.shown.shape
        rows = (np.arange(region.top, region.bottom) + 0.5 - around.top) * high / around.height
        columns = (np.arange(region.left, region.right) + 0.5 - around.left) * wide / around.width
        hidden = ~framing.shown[np.ix_(rows.astype(int), columns.astype(int))]
        result[part][hidden] //= 4
    return result


def _previewed(
    source: Path | bytes, file: IO[bytes], limits: Limits, bit_depth: int | None, choose: Choice
) -> PreviewPng | None:
    for page in decode_pages(source, file, limits, None, bit_depth, choose):
        picture = Image.fromarray(page.pixels)
        picture.thumbnail((MOST_PREVIEW, MOST_PREVIEW), Image.Resampling.BOX)
        return png_of(np.asarray(picture)), (page.pixels.shape[1], page.pixels.shape[0])
    return None
