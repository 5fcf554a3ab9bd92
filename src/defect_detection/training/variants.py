"""Variants of an image to learn from: its flips and turns, and the image in other light."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# How far the light of a part changes when a lamp ages or a lens stop is moved.
_LARGEST_GAMMA = 1.25  # and its inverse
_LARGEST_CONTRAST = 1.2  # and its inverse, about middle gray
_LARGEST_BRIGHTNESS = 0.08  # of full scale, up or down
_GENERATION = (
    1  # one more with every change of these and of what is made of them: cached ones are of no use then
)


@dataclass(frozen=True)
class Variant:
    """How an image is shown.

    turn: which of the eight flips and turns; 0 leaves it as it is.
    light: which other light, from 1 on; 0 leaves it as it is.
    """

    turn: int = 0
    light: int = 0

    def key(self, key: str) -> str:
        """Return what an image of this content hash is cached by in this variant."""
        return (
            key
            + (f"/{self.turn}" if self.turn else "")
            + (f"/light{_GENERATION}-{self.light}" if self.light else "")
        )

    def shown(self, images: np.ndarray, keys: Sequence[str]) -> np.ndarray:
        """Return square uint8 images (n, h, h, 3) with these content hashes in this variant; the same ones for the same hashes."""
        lit = in_other_light(images, keys, self.light) if self.light else images
        return turned(lit, self.turn)


AS_IT_IS = Variant()


def variants(turns: int, lights: int) -> list[Variant]:
    """Return what the pooled branch learns from beside the images as they are: the other turns, then other lights."""
    return [Variant(turn=turn) for turn in range(1, turns)] + [
        Variant(light=light) for light in range(1, lights + 1)
    ]


def turned(maps: np.ndarray, turn: int) -> np.ndarray:
    """Return square maps, (n, h, w, …), in one of their eight flips and turns; 0 leaves them as they are."""
    rotated = np.rot90(maps, turn % 4, (1, 2))
    return np.ascontiguousarray(rotated[:, :, ::-1] if turn >= 4 else rotated)


def in_other_light(images: np.ndarray, keys: Sequence[str], light: int) -> np.ndarray:
    """Return uint8 images with a gamma, contrast and brightness each that their content hashes and `light` choose."""
    return np.stack([_light(key, light)[image] for image, key in zip(images, keys, strict=True)])


def _light(key: str, light: int) -> np.ndarray:
    """Return the brightness of each of the 256 levels in this image's other light, uint8 (256,)."""
    rng = np.random.default_rng([int(key[:16], 16), light])
    gamma, contrast = (largest ** rng.uniform(-1, 1) for largest in (_LARGEST_GAMMA, _LARGEST_CONTRAST))
    brightness = rng.uniform(-_LARGEST_BRIGHTNESS, _LARGEST_BRIGHTNESS)
    levels = (np.linspace(0, 1, 256) ** gamma - 0.5) * contrast + 0.5 + brightness
    return np.rint(np.clip(levels, 0, 1) * 255).astype(np.uint8)
