"""Find and read the masks of defective pixels."""

from pathlib import Path

import numpy as np

from defect_detection.data.bounds import DEFAULT_LIMITS, Limits
from defect_detection.data.framing import Framing
from defect_detection.data.images import read_image
from defect_detection.data.samples import DEFECTIVE, Sample
from defect_detection.errors import ImageError

MASK_FOLDER = "ground_truth"  # beside the folder of a split, as MVTec and others have it


def find_mask(sample: Sample, folder: Path) -> Path | None:
    """Return the mask of a defective image: from the index, else ``ground_truth/<class>/<name>[_mask].png`` beside `folder`.

    Args:
        folder: that was scanned, such as ``data/test``.
    """
    if sample.mask is not None or sample.label != DEFECTIVE:
        return sample.mask
    if not sample.path.is_relative_to(folder):
        return None
    beside = folder.parent / MASK_FOLDER / sample.path.relative_to(folder).parent
    places = [beside / f"{sample.path.stem}{ending}.png" for ending in ("_mask", "")]
    return next((place for place in places if place.is_file()), None)


def read_mask(path: Path, framing: Framing, limits: Limits = DEFAULT_LIMITS) -> np.ndarray:
    """Read a mask and fit it like images, so both match pixel by pixel.

    A pixel of the mask counts from half of its brightest on: 0 and 255 as well as 0 and 1 are read. A pixel of the result is
    defective when any that it covers is, so that thin defects don't vanish.

    Returns:
        bool array of the framing's size, False in padding and where an ignore mask hides the image.

    Raises:
        ImageError: it can't be read, or marks nothing. Names the file.
    """
    marked = read_marked(path, framing, limits)
    place = framing.fitted(marked.shape[1], marked.shape[0])
    whole = np.zeros(framing.size, bool)
    inner = any_below(marked, (place.height, place.width))
    whole[place.top : place.top + place.height, place.left : place.left + place.width] = inner
    return whole if framing.seen is None else whole & framing.seen


def read_marked(path: Path, framing: Framing, limits: Limits = DEFAULT_LIMITS) -> np.ndarray:
    """Return the marked pixels of the framing's region, bool (height, width), in the size of the mask. Raises as `read_mask`."""
    values = read_image(path, limits=limits).max(axis=2)
    if not values.any():
        raise ImageError(f"{path}: expected a mask with the defect in white, received an all-black image")
    box = framing.box(values.shape[1], values.shape[0])
    return np.asarray((values > values.max() / 2)[box.top : box.bottom, box.left : box.right])


def any_below(marked: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize a bool array; a value of the result is True where any is that it covers."""
    return _rows_below(_rows_below(marked, shape[0]).T, shape[1]).T


def _rows_below(marked: np.ndarray, size: int) -> np.ndarray:
    """Resize the rows of a bool array of shape (height, width) to `size`; each new row is the union of those it covers."""
    height = len(marked)
    first = np.arange(size) * height // size
    end = -(-(np.arange(size) + 1) * height // size)  # rounded up
    counts = np.pad(marked.cumsum(0), ((1, 0), (0, 0)))
    return np.asarray(counts[end] > counts[first])
