"""Which positions of a model's maps count: those that hold a pixel which is neither padding nor hidden by a mask.

A position that is partly hidden counts; what is hidden of it has one constant gray, so that it tells nothing.
"""

import numpy as np

from defect_detection.data.masks import any_below
from defect_detection.model.backend import keras, ops


def seen_places(seen: np.ndarray | None, shape: tuple[int, ...]) -> list[int] | None:
    """Return the positions of a map of (height, width) that count, from the first row on; None where all do.

    Args:
        seen: bool array (H, W) over the model's input, True where a pixel counts; None: all do.
    """
    if seen is None:
        return None
    counts = any_below(seen, (shape[0], shape[1]))
    return None if counts.all() else np.flatnonzero(counts).tolist()


def counting(values: keras.KerasTensor, seen: np.ndarray | None) -> keras.KerasTensor:
    """Return the positions of maps that count: (B, h, w, C) → (B, n_places, 1, C), or as they are where all do."""
    _, height, width, channels = values.shape
    places = seen_places(seen, (height, width))
    if places is None:
        return values
    flat = ops.reshape(values, (-1, height * width, channels))
    return ops.expand_dims(ops.take(flat, places, axis=1), 2)


def on_grid(values: keras.KerasTensor, seen: np.ndarray | None, grid: tuple[int, ...]) -> keras.KerasTensor:
    """Undo `counting` for a value of each position, (B, n_places, 1) → (B, h, w). What does not count gets the lowest value."""
    places = seen_places(seen, grid)
    if places is None:
        return values
    values = ops.squeeze(values, 2)
    lowest = ops.min(values, axis=1, keepdims=True)
    order = np.full(grid[0] * grid[1], len(places))
    order[places] = np.arange(len(places))
    return ops.reshape(
        ops.take(ops.concatenate([values, lowest], axis=1), order.tolist(), axis=1), (-1, *grid)
    )
