"""Draw defects on images of OK parts, as a measure if there are no defective images. They never count as real defects."""

import numpy as np

from defect_detection.synthetic.defects import DEFECTS, Defect

_VISIBLE = 0.02  # change of brightness that counts, of 1
_FEWEST_PX = 12  # that show it
_ATTEMPTS = 8


def with_drawn_defect(
    image: np.ndarray, rng: np.random.Generator, seen: np.ndarray | None = None
) -> np.ndarray:
    """Return the image with one defect of a random kind, uint8 (height, width, 3), RGB.

    If a kind is not visible on this surface, another kind is drawn. Defects are drawn in a square somewhere in the image.

    Args:
        seen: bool (height, width), where a defect counts; None: everywhere.
    """
    changed = image
    for _ in range(_ATTEMPTS):
        changed, shows = _drawn(image, rng, DEFECTS[int(rng.integers(len(DEFECTS)))], seen)
        if shows:
            break
    return changed


def with_defect_of(
    kind: Defect, image: np.ndarray, rng: np.random.Generator, seen: np.ndarray | None = None
) -> np.ndarray | None:
    """Return the image with a defect of this kind; None where none shows on this surface."""
    attempts = (_drawn(image, rng, kind, seen) for _ in range(_ATTEMPTS))
    return next((changed for changed, shows in attempts if shows), None)


def _drawn(
    image: np.ndarray, rng: np.random.Generator, kind: Defect, seen: np.ndarray | None
) -> tuple[np.ndarray, bool]:
    """Return the image with a defect, and whether it shows."""
    part = _square(image.shape, rng)
    surface = image[part].astype(np.float32).mean(axis=-1) / 255
    changed, mask = kind(rng, surface)
    changed = changed if seen is None else np.where(seen[part], changed, surface)
    shows = ((np.abs(changed - surface) > _VISIBLE) & (mask > 0.2)).sum() >= _FEWEST_PX
    result = image.copy()
    result[part] = np.clip(image[part] + 255 * (changed - surface)[..., np.newaxis], 0, 255)
    return result, bool(shows)


def _square(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[slice, slice]:
    """Return the largest square at a random place; of a square image, all of it."""
    height, width = shape[:2]
    if height == width:
        return slice(None), slice(None)
    side = min(height, width)
    top, left = (int(rng.integers(length - side + 1)) for length in (height, width))
    return slice(top, top + side), slice(left, left + side)
