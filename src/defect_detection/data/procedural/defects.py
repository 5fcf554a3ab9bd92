"""Defects: changes of texture, of geometry and of light, each with its mask.

Every function takes ``(rng, surface)`` and returns the changed surface and its mask. `surface` is a float32
array of shape (size, size) of brightness around 0.5, the mask one in [0, 1].
Strength is measured against the surface's own spread, so that defects range from glaring to barely visible.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from defect_detection.data.procedural.textures import coordinates, spectral

Change = tuple[np.ndarray, np.ndarray]
Defect = Callable[[np.random.Generator, np.ndarray], Change]
_SUPERSAMPLING = 4


def strength(rng: np.random.Generator, surface: np.ndarray) -> float:
    """Draw a signed contrast: one to five times the local spread, at least just visible."""
    local = float(np.std(surface - ndimage.uniform_filter(surface, 9)))
    return float(rng.choice([-1, -1, 1]) * np.clip((local + 0.02) * rng.uniform(1.0, 5.0), 0.04, 0.6))


def blob(rng: np.random.Generator, size: int, smallest: float = 0.02, largest: float = 0.35) -> np.ndarray:
    """Return an irregular soft-edged region, float32 in [0, 1] of shape (size, size)."""
    rows, columns = coordinates(size)
    radius = smallest * (largest / smallest) ** rng.random()
    aspect, angle = rng.uniform(0.4, 1.0), rng.uniform(0, np.pi)
    y, x = rows - rng.uniform(-0.9, 0.9), columns - rng.uniform(-0.9, 0.9)
    along, across = y * np.cos(angle) + x * np.sin(angle), (x * np.cos(angle) - y * np.sin(angle)) / aspect
    distance = np.hypot(along, across) / radius + spectral(rng, size, rng.uniform(1.2, 2.2)) * rng.uniform(
        0, 0.35
    )
    edge = 2.0 / (size * radius) * rng.uniform(0.5, 2.5)
    return np.clip((1 - distance) / edge + 0.5, 0, 1).astype(np.float32)


def stroke(rng: np.random.Generator, size: int, points: np.ndarray, width_px: float) -> np.ndarray:
    """Draw a polyline through `points` (n, 2) in pixels, antialiased, float32 in [0, 1]."""
    canvas = Image.new("L", (size * _SUPERSAMPLING, size * _SUPERSAMPLING))
    path = [(float(x) * _SUPERSAMPLING, float(y) * _SUPERSAMPLING) for y, x in points]
    ImageDraw.Draw(canvas).line(path, fill=255, width=max(1, round(width_px * _SUPERSAMPLING)), joint="curve")
    small = canvas.resize((size, size), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / 255


def walk(rng: np.random.Generator, size: int, step_px: float, jitter: float, steps: int) -> np.ndarray:
    """Return a random walk that keeps its heading up to `jitter` radians a step, (steps, 2) in pixels."""
    headings = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, jitter, steps)) * rng.choice([0.3, 1.0])
    moves = np.stack([np.sin(headings), np.cos(headings)], -1) * step_px
    return rng.uniform(0.05, 0.95, 2) * size + np.cumsum(moves, axis=0)


def scratch(rng: np.random.Generator, surface: np.ndarray) -> Change:
    size = len(surface)
    points = walk(rng, size, size * rng.uniform(0.02, 0.08), rng.uniform(0, 0.12), 12)
    mask = stroke(rng, size, points, rng.uniform(0.6, 2.6))
    if rng.random() < 0.3:
        mask *= np.clip(spectral(rng, size, 1.0) + 0.8, 0, 1)
    change = mask * strength(rng, surface)
    if rng.random() < 0.4:  # a groove has a bright and a dark flank
        change -= 0.7 * np.roll(change, rng.choice([-1, 1]), axis=rng.integers(2))
    return surface + change, mask


def crack(rng: np.random.Generator, surface: np.ndarray) -> Change:
    size = len(surface)
    points = walk(rng, size, size * rng.uniform(0.015, 0.04), rng.uniform(0.3, 0.8), int(rng.integers(8, 28)))
    mask = stroke(rng, size, points, rng.uniform(0.5, 1.8))
    for _ in range(rng.integers(0, 3)):
        start = points[rng.integers(len(points))]
        branch = walk(rng, size, size * 0.02, 0.5, int(rng.integers(4, 10)))
        mask = np.maximum(mask, stroke(rng, size, branch - branch[0] + start, rng.uniform(0.4, 1.2)))
    return surface - mask * abs(strength(rng, surface)) * rng.choice([1, 1, 1, -1]), mask


def pit(rng: np.random.Generator, surface: np.ndarray) -> Change:
    """Pores, blowholes, inclusions: dark or bright spots, some with a lit rim."""
    size = len(surface)
    mask = np.zeros_like(surface)
    for _ in range(rng.integers(1, 3 if rng.random() < 0.7 else 7)):
        mask = np.maximum(mask, blob(rng, size, 0.02, 0.12))
    change = mask * strength(rng, surface) * 1.4
    if rng.random() < 0.5:
        shift = rng.integers(-2, 3, 2)
        rim = np.clip(np.roll(mask, shift, (0, 1)) - mask, 0, 1)
        change += rim * rng.uniform(0.05, 0.3)
    return surface + change, mask


def stain(rng: np.random.Generator, surface: np.ndarray) -> Change:
    mask = ndimage.gaussian_filter(blob(rng, len(surface), 0.1, 0.6), rng.uniform(0.3, 4))
    return surface + mask * strength(rng, surface) * rng.uniform(0.4, 1.0), mask


def smear(rng: np.random.Generator, surface: np.ndarray) -> Change:
    """The texture is worn off, polished or out of order inside a region."""
    size = len(surface)
    mask = blob(rng, size, 0.08, 0.5)
    style = rng.integers(3)
    if style == 0:
        other = ndimage.gaussian_filter(surface, rng.uniform(1.5, 4))
    elif style == 1:
        other = (
            np.rot90(surface, int(rng.integers(1, 4)))
            if rng.random() < 0.5
            else np.roll(surface, size // 3, 0)
        )
    else:
        other = surface.mean() + (surface - surface.mean()) * rng.choice([-0.6, 0.25, 2.0])
    return surface + mask * (other - surface), mask


def foreign(rng: np.random.Generator, surface: np.ndarray) -> Change:
    """A patch of another material: fibre, chip, residue, label."""
    size = len(surface)
    if rng.random() < 0.4:
        mask = stroke(rng, size, walk(rng, size, size * 0.03, 0.35, 14), rng.uniform(0.8, 3.5))
    else:
        mask = blob(rng, size, 0.04, 0.3)
    material = surface.mean() + strength(rng, surface) + 0.05 * spectral(rng, size, rng.uniform(0.2, 2))
    return surface + mask * (material - surface), mask


def warp(rng: np.random.Generator, surface: np.ndarray) -> Change:
    """A local displacement: bent threads, dents in a pattern, a shifted print."""
    size = len(surface)
    mask = ndimage.gaussian_filter(blob(rng, size, 0.1, 0.4), size * rng.uniform(0.01, 0.04))
    shift = rng.normal(0, 1, 2)
    shift *= size * rng.uniform(0.02, 0.07) / max(np.hypot(*shift), 1e-6)
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    bent = ndimage.map_coordinates(
        surface, [rows + shift[0] * mask, columns + shift[1] * mask], order=1, mode="reflect"
    )
    return bent, mask


def dent(rng: np.random.Generator, surface: np.ndarray) -> Change:
    """A bump or hollow under directed light: one side brighter, the other darker."""
    size = len(surface)
    height = ndimage.gaussian_filter(blob(rng, size, 0.06, 0.35), size * rng.uniform(0.015, 0.06))
    slope_y, slope_x = np.gradient(height)
    angle = rng.uniform(0, 2 * np.pi)
    shade = slope_y * np.sin(angle) + slope_x * np.cos(angle)
    shade /= max(float(np.abs(shade).max()), 1e-6)
    return surface + shade * abs(strength(rng, surface)) * 1.3, np.clip(np.abs(shade) * 2, 0, 1)


def specks(rng: np.random.Generator, surface: np.ndarray) -> Change:
    """A cluster of tiny particles or pinholes."""
    size = len(surface)
    count = int(rng.integers(2, 25))
    centres = rng.uniform(0.1, 0.9, 2) * size + rng.normal(0, size * rng.uniform(0.02, 0.15), (count, 2))
    cells = np.clip(centres.astype(int), 0, size - 1)
    mask = np.zeros_like(surface)
    mask[cells[:, 0], cells[:, 1]] = 1
    mask = np.clip(ndimage.gaussian_filter(mask, rng.uniform(0.4, 1.0)) * rng.uniform(3, 7), 0, 1)
    return surface + mask * strength(rng, surface) * 1.5, mask


def streak(rng: np.random.Generator, surface: np.ndarray) -> Change:
    """A straight band across the image: roller mark, missing thread, fold, coating line."""
    size = len(surface)
    rows, columns = coordinates(size)
    angle = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
    distance = np.abs(rows * np.cos(angle) + columns * np.sin(angle) - rng.uniform(-0.7, 0.7))
    mask = np.clip(1.5 - distance / rng.uniform(0.01, 0.06), 0, 1).astype(np.float32)
    if rng.random() < 0.5:
        mask *= np.clip((columns * np.cos(angle) - rows * np.sin(angle) - rng.uniform(-0.8, 0.3)) * 8, 0, 1)
    other = (
        surface + strength(rng, surface) * 0.7
        if rng.random() < 0.6
        else np.roll(surface, size // 5, rng.integers(2))
    )
    return surface + mask * (other - surface), mask


DEFECTS: tuple[Defect, ...] = (scratch, crack, pit, stain, smear, foreign, warp, dent, specks, streak)
DEFECT_NAMES: tuple[str, ...] = (*(defect.__name__ for defect in DEFECTS), "outline")
OUTLINE = len(DEFECTS)  # the part's own edge is broken: drawn by `parts.bite`, not here
