"""Parts: outlines of made things, as signed distance fields (negative inside, in half image widths)."""

import numpy as np
from scipy import ndimage

from defect_detection.data.procedural.textures import coordinates, spectral


def outline(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return the signed distance to the outline of a random part, float32 of shape (size, size).

    The part is a disc, ring, gear, polygon, rounded plate or bar, with or without drilled holes, turned and
    shifted at random.
    """
    rows, columns = coordinates(size)
    angle = rng.uniform(0, 2 * np.pi)
    centre = rng.uniform(-0.15, 0.15, 2)
    y = (rows - centre[0]) * np.cos(angle) + (columns - centre[1]) * np.sin(angle)
    x = (columns - centre[1]) * np.cos(angle) - (rows - centre[0]) * np.sin(angle)
    distance = _SHAPES[rng.choice(len(_SHAPES))](rng, y, x)
    for _ in range(rng.integers(0, 5) if rng.random() < 0.6 else 0):
        hole_y, hole_x = rng.uniform(-0.6, 0.6, 2)
        distance = np.maximum(distance, rng.uniform(0.05, 0.2) - np.hypot(y - hole_y, x - hole_x))
    return distance.astype(np.float32)


def _round(rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    radius, theta = np.hypot(y, x), np.arctan2(y, x)
    teeth = (
        rng.uniform(0, 0.08) * np.tanh(4 * np.sin(rng.integers(4, 24) * theta)) if rng.random() < 0.4 else 0.0
    )
    distance = radius - rng.uniform(0.5, 0.95) - teeth
    if rng.random() < 0.6:
        distance = np.maximum(distance, rng.uniform(0.08, 0.4) - radius)
    return distance


def _polygon(rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    sides = rng.integers(3, 9)
    directions = 2 * np.pi * (np.arange(sides) + rng.uniform(-0.15, 0.15, sides)) / sides
    reach = rng.uniform(0.4, 0.8)
    return np.max([y * np.sin(d) + x * np.cos(d) - reach for d in directions], axis=0)


def _plate(rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    half_height, half_width = rng.uniform(0.2, 0.9), rng.uniform(0.4, 1.1)
    corner = rng.uniform(0, 0.9) * min(half_height, half_width)
    dy, dx = np.abs(y) - half_height + corner, np.abs(x) - half_width + corner
    return np.hypot(np.maximum(dy, 0), np.maximum(dx, 0)) + np.minimum(np.maximum(dy, dx), 0) - corner


_SHAPES = (_round, _polygon, _plate, _plate)


def relief(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return height steps that belong to the design (ribs, pockets, bosses), float32 (size, size)."""
    height = np.zeros((size, size), np.float32)
    for _ in range(rng.integers(0, 4)):
        height += np.where(outline(rng, size) < -rng.uniform(0.1, 0.5), rng.uniform(-1, 1), 0)
    return ndimage.gaussian_filter(height, rng.uniform(0.6, 2.0))


def bite(rng: np.random.Generator, distance: np.ndarray) -> np.ndarray:
    """Break a piece off the outline, or add a burr: return the new signed distance."""
    size = len(distance)
    edge = np.argwhere(np.abs(distance) < 0.03)
    if not len(edge):
        return distance
    centre = edge[rng.integers(len(edge))] / (size - 1) * 2 - 1
    rows, columns = coordinates(size)
    radius = rng.uniform(0.05, 0.3)
    rough = spectral(rng, size, 1.2) * radius * rng.uniform(0.05, 0.35)
    piece = np.hypot(rows - centre[0], (columns - centre[1]) * rng.uniform(0.5, 2)) - radius + rough
    if rng.random() < 0.75:
        return np.maximum(distance, -piece)  # chipped
    return np.minimum(distance, piece + 0.4 * radius)  # a burr
