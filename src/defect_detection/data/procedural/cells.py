"""Cells of 8 px: which types of defect touch each, as bits."""

import numpy as np

from defect_detection.data.procedural.defects import DEFECT_NAMES
from defect_detection.data.procedural.scene import Masks

CELL_PX = 8
_FEWEST_PX = 2  # of a mask in a cell that it touches


def cell_bits(masks: Masks, size: int) -> np.ndarray:
    """Return uint16 (size / 8, size / 8); bit k is set where the mask of type k touches the cell."""
    grid = size // CELL_PX
    cells = np.zeros((grid, grid), np.uint16)
    for kind, mask in masks.items():
        touched = mask.reshape(grid, CELL_PX, grid, CELL_PX).sum((1, 3)) >= _FEWEST_PX
        cells |= touched.astype(np.uint16) << kind
    return cells


def cell_targets(cells: np.ndarray) -> np.ndarray:
    """Unpack cell bits into float32 (n, h, w, n_types + 1): a channel per type, the last "any"."""
    bits = (cells[..., None] >> np.arange(len(DEFECT_NAMES), dtype=np.uint16)) & 1
    return np.concatenate([bits, (cells > 0)[..., None]], axis=-1).astype(np.float32)
