"""Outlines of parts as signed distance fields (negative inside, in half image widths)."""

import math

import numpy as np
from scipy import ndimage

from defect_detection.synthetic.fields import coordinates, noise, turned


def outline(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return the signed distance to the outline of a random part, float32 of shape (size, size).

    The part is a disc, ring, gear, polygon, rounded plate or bar, with or without drilled holes, turned and
    shifted at random.
    """
    rows, columns = coordinates(size)
    centre_y, centre_x = rng.uniform(-0.2, 0.2, 2).tolist()
    zoom = rng.uniform(0.8, 1.8)
    y, x = turned((rows - centre_y) * zoom, (columns - centre_x) * zoom, rng.uniform(0, 2 * math.pi))
    distance = _SHAPES[int(rng.integers(len(_SHAPES)))](rng, y, x)
    for _ in range(rng.integers(0, 5) if rng.random() < 0.6 else 0):
        hole_y, hole_x = rng.uniform(-0.6, 0.6, 2).tolist()
        distance = np.maximum(distance, rng.uniform(0.05, 0.2) - np.hypot(y - hole_y, x - hole_x))
    return (distance / zoom).astype(np.float32)


def many(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return the signed distance to several equal small parts in a grid: pins, pads, pills, seeds, cells."""
    rows, columns = coordinates(size)
    pitch = rng.uniform(0.25, 0.7)
    y, x = turned(rows, columns, rng.uniform(0, math.pi))
    y, x = ((axis + pitch / 2) % pitch - pitch / 2 for axis in (y, x))
    scale = pitch / 2 * rng.uniform(0.9, 1.2)
    shape = _SHAPES[int(rng.integers(len(_SHAPES)))](rng, y / scale, x / scale)
    return (shape * scale).astype(np.float32)


def _round(rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    radius, theta = np.hypot(y, x), np.arctan2(y, x) if rng.random() < 0.4 else None
    teeth: np.ndarray | float = 0.0
    if theta is not None:
        teeth = rng.uniform(0, 0.08) * np.tanh(4 * np.sin(int(rng.integers(4, 24)) * theta))
    distance = radius - rng.uniform(0.5, 0.95) - teeth
    if rng.random() < 0.6:
        distance = np.maximum(distance, rng.uniform(0.08, 0.4) - radius)
    return distance


def _polygon(rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    sides = rng.integers(3, 9)
    directions = 2 * np.pi * (np.arange(sides) + rng.uniform(-0.15, 0.15, sides)) / sides
    reach = rng.uniform(0.4, 0.8)
    return np.maximum.reduce([y * math.sin(d) + x * math.cos(d) - reach for d in directions])


def _plate(rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    half_height, half_width = rng.uniform(0.2, 0.9), rng.uniform(0.4, 1.1)
    corner = rng.uniform(0, 0.9) * min(half_height, half_width)
    dy, dx = np.abs(y) - half_height + corner, np.abs(x) - half_width + corner
    return np.hypot(np.maximum(dy, 0), np.maximum(dx, 0)) + np.minimum(np.maximum(dy, dx), 0) - corner


_SHAPES = (_round, _polygon, _plate, _plate)


def relief(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return height steps that belong to the design (ribs, pockets, bosses), float32 (size, size)."""
    height = np.zeros((size, size), np.float32)
    for _ in range(rng.integers(0, 3)):
        height += (outline(rng, size) < -rng.uniform(0.1, 0.5)) * np.float32(rng.uniform(-1, 1))
    return ndimage.gaussian_filter(height, rng.uniform(0.6, 2.0), truncate=2.5)


def bite(rng: np.random.Generator, distance: np.ndarray) -> np.ndarray:
    """Break a piece off the outline, or add a burr: return the new signed distance."""
    size = len(distance)
    edge = np.argwhere(np.abs(distance) < 0.03)
    if not len(edge):
        return distance
    centre_y, centre_x = (edge[rng.integers(len(edge))] / (size - 1) * 2 - 1).tolist()
    rows, columns = coordinates(size)
    radius = rng.uniform(0.03, 0.3)
    rough = noise(rng, size, 1.2) * radius * rng.uniform(0.05, 0.35)
    piece = np.hypot(rows - centre_y, (columns - centre_x) * rng.uniform(0.5, 2)) - radius + rough
    if rng.random() < 0.75:
        return np.maximum(distance, -piece)  # chipped
    return np.minimum(distance, piece + 0.4 * radius)  # a burr
