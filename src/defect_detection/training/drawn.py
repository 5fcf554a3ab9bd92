"""Draw defects on images of OK parts: a yardstick where no defective image is there. Drawn ones are never counted as real."""

import numpy as np

from defect_detection.synthetic.defects import DEFECTS

_VISIBLE = 0.02  # change of brightness that counts, of 1
_FEWEST_PX = 12  # that show it
_ATTEMPTS = 8


def with_drawn_defect(
    image: np.ndarray, rng: np.random.Generator, seen: np.ndarray | None = None
) -> np.ndarray:
    """Return the image with one defect of a random kind, uint8 (height, width, 3), RGB.

    A kind that does not show on this surface gives way to another one. Defects are drawn in a square somewhere in the image.

    Args:
        seen: bool (height, width), where a defect counts; None: everywhere.
    """
    if image.shape[0] != image.shape[1]:
        side = min(image.shape[:2])
        top, left = (int(rng.integers(length - side + 1)) for length in image.shape[:2])
        part = slice(top, top + side), slice(left, left + side)
        result = image.copy()
        result[part] = with_drawn_defect(image[part], rng, None if seen is None else seen[part])
        return result
    surface = image.astype(np.float32).mean(axis=-1) / 255
    changed = surface
    for _ in range(_ATTEMPTS):
        changed, mask = DEFECTS[int(rng.integers(len(DEFECTS)))](rng, surface)
        changed = changed if seen is None else np.where(seen, changed, surface)
        if ((np.abs(changed - surface) > _VISIBLE) & (mask > 0.2)).sum() >= _FEWEST_PX:
            break
    return np.clip(image + 255 * (changed - surface)[..., np.newaxis], 0, 255).astype(np.uint8)
