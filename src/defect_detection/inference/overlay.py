"""Draw where the defect is over an image, in the image's own shape and size."""

from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from defect_detection.data.images import MAX_PIXELS, Pages, read_pages
from defect_detection.evaluation.figures import heat_scale, overlay
from defect_detection.inference.inspect import Inspection


def draw_overlay(
    source: Path | bytes,
    inspection: Inspection,
    *,
    bit_depth: int | None = None,
    max_pixels: int = MAX_PIXELS,
    pages: Pages = "refuse",
) -> np.ndarray:
    """Return the image, at the page that decided, with the evidence as heat over it.

    Args:
        source: what was inspected, with these settings.
        inspection: with evidence.

    Returns:
        uint8 array of shape (height, width, 3), RGB, upright.

    Raises:
        ImageError: the image can't be read (any more).
    """
    assert inspection.evidence is not None
    read = read_pages(source, None, max_pixels, pages=pages, bit_depth=bit_depth)
    page = next(islice(read, inspection.page - 1, None))
    return overlay(page.pixels, inspection.evidence, heat_scale(inspection.evidence, inspection.verdict))


def png_of(pixels: np.ndarray, note: tuple[str, str] | None = None) -> bytes:
    """Return uint8 pixels of shape (height, width, 3), RGB, as a PNG file: quickly rather than small.

    Args:
        note: (keyword, text) for its header.
    """
    buffer = BytesIO()
    header = PngInfo()
    if note:
        header.add_text(*note)
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=3, pnginfo=header)
    return buffer.getvalue()
