"""Flips and rotations of square images and of their maps, for augmentation."""

import numpy as np


def turned(maps: np.ndarray, turn: int) -> np.ndarray:
    """Return square maps, (n, h, w, …), in one of their eight flips and turns; 0 leaves them as they are."""
    rotated = np.rot90(maps, turn % 4, (1, 2))
    return np.ascontiguousarray(rotated[:, :, ::-1] if turn >= 4 else rotated)


def turned_key(key: str, turn: int) -> str:
    """Return the cache key of an image with this content hash in this flip or rotation."""
    return f"{key}/{turn}" if turn else key
