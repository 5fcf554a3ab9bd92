"""Compare the boxes of a model with the masks of the test images."""

from collections.abc import Mapping, Sequence

import numpy as np

from defect_detection.data.boxes import find_boxes
from defect_detection.data.extent import Box, Extent
from defect_detection.evaluation.parts import numbered, rate_of
from defect_detection.evaluation.rates import Estimate, Frozen, Rate


class Located(Frozen):
    """How well boxes meet masks, on images with a mask; boxes of any size count.

    touched: masks that a box touches, of all; an image that passed as OK has no box. caught: of the images that were called defective.
    off: boxes that touch no mask, of all boxes. overlap: intersection over union of the boxes and the rectangles around the connected
    areas of the mask, on average over the images that were called defective.
    """

    touched: Rate
    caught: Rate | None
    off: Rate | None
    overlap: Estimate | None


def locate(
    maps: np.ndarray,
    masks: Mapping[int, np.ndarray],
    scores: np.ndarray,
    threshold: float,
    parts: Sequence[str],
    confidence: float = 0.95,
) -> Located | None:
    """Return how well boxes meet masks; None without masks.

    Args:
        maps: evidence, float array of shape (n_images, h, w). masks: by the position of an image, bool (height, width).
        parts: name of the part of each image, "" = its own part.
    """
    if not masks:
        return None
    part = numbered(parts, len(scores))
    boxes = {i: _boxes(maps[i], float(scores[i]), threshold, mask) for i, mask in masks.items()}
    hits = {i: [bool(mask[_slices(box)].any()) for box in boxes[i]] for i, mask in masks.items()}
    order = np.array(list(masks), int)
    touched = np.array([any(hits[i]) for i in masks], bool)
    called = scores[order] >= threshold
    of_boxes = np.array([i for i, found in hits.items() for _ in found], int)
    off = np.array([not hit for found in hits.values() for hit in found], bool)
    overlaps = np.array([_overlap(boxes[i], masks[i]) for i in order[called]])
    return Located(
        touched=rate_of(touched, part[order], confidence),
        caught=rate_of(touched[called], part[order[called]], confidence) if called.any() else None,
        off=rate_of(off, part[of_boxes], confidence) if len(off) else None,
        overlap=_mean_of(overlaps, part[order[called]], confidence) if called.any() else None,
    )


def _boxes(evidence: np.ndarray, score: float, threshold: float, mask: np.ndarray) -> list[Box]:
    extent = Extent.whole((mask.shape[1], mask.shape[0]))
    return [one.box for one in find_boxes(evidence, score, threshold, extent).found]


def _slices(box: Box) -> tuple[slice, slice]:
    return slice(box.top, box.bottom), slice(box.left, box.right)


def _overlap(boxes: Sequence[Box], mask: np.ndarray) -> float:
    """Return the intersection over union of boxes and the rectangles around the connected areas of a mask."""
    from scipy import ndimage

    found, true = np.zeros(mask.shape, bool), np.zeros(mask.shape, bool)
    for box in boxes:
        found[_slices(box)] = True
    for around in ndimage.find_objects(ndimage.label(mask, np.ones((3, 3)))[0]):
        true[around] = True
    return float((found & true).sum() / max((found | true).sum(), 1))


def _mean_of(values: np.ndarray, part: np.ndarray, confidence: float) -> Estimate:
    """Return the mean of values, with Student's interval over the means of parts; all that is possible with one part."""
    from scipy.special import stdtrit

    mean = float(values.mean())
    _, part = np.unique(part, return_inverse=True)
    means = np.bincount(part, values) / np.bincount(part)
    if len(means) < 2:
        return Estimate(value=mean, low=0.0, high=1.0, confidence=confidence)
    half = float(stdtrit(len(means) - 1, (1 + confidence) / 2) * means.std(ddof=1) / np.sqrt(len(means)))
    return Estimate(value=mean, low=max(mean - half, 0.0), high=min(mean + half, 1.0), confidence=confidence)
