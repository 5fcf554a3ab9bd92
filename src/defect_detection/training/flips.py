"""Flips and rotations of images and of their maps, for augmentation."""

import numpy as np


def turned(maps: np.ndarray, turn: int) -> np.ndarray:
    """Return maps, (n, h, w, …), in one of their eight flips and turns; 0 leaves them as they are."""
    rotated = np.rot90(maps, turn % 4, (1, 2))
    return np.ascontiguousarray(rotated[:, :, ::-1] if turn >= 4 else rotated)


def symmetries(size: tuple[int, int], seen: np.ndarray | None) -> tuple[int, ...]:
    """Return the flips and turns that leave the (height, width) of images, and what is seen of them, as they are."""
    shape = seen if seen is not None else np.ones(size, bool)
    return tuple(turn for turn in range(8) if np.array_equal(turned(shape[np.newaxis], turn)[0], shape))


def turned_key(key: str, turn: int) -> str:
    """Return the cache key of an image with this content hash in this flip or rotation."""
    return f"{key}/{turn}" if turn else key
