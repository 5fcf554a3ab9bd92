"""Defects: changes of texture, of geometry and of light, each with its mask.

Every function takes ``(rng, surface)`` and returns the changed surface and its mask. `surface` is a float32
array of shape (size, size) of brightness around 0.5, the mask one in [0, 1].
Strength is measured against the surface's own spread, so that defects range from glaring to barely visible.
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from defect_detection.synthetic.fields import coordinates, noise, rotated, spectral, turned
from defect_detection.synthetic.textures import bent

Change = tuple[np.ndarray, np.ndarray]
Defect = Callable[[np.random.Generator, np.ndarray], Change]
Field = Callable[[np.random.Generator, int, float], np.ndarray]
_SUPERSAMPLING = 4


def strength(rng: np.random.Generator, surface: np.ndarray) -> float:
    """Draw a signed contrast: one to five times the local spread, at least just visible."""
    local = float(np.std(surface[::2, ::2] - ndimage.uniform_filter(surface[::2, ::2], 5)))
    sign = -1 if rng.random() < 2 / 3 else 1
    return sign * min(max((local + 0.02) * rng.uniform(0.8, 5.0), 0.035), 0.6)


def region(rng: np.random.Generator, size: int, smallest: float, largest: float) -> np.ndarray:
    """Return a `blob` for scenes: its outline from the pool of noise."""
    return blob(rng, size, smallest, largest, noise)


def blob(
    rng: np.random.Generator,
    size: int,
    smallest: float = 0.02,
    largest: float = 0.35,
    rough: Field = spectral,
) -> np.ndarray:
    """Return an irregular soft-edged region, float32 in [0, 1] of shape (size, size); `rough` draws its outline's noise."""
    rows, columns = coordinates(size)
    radius = smallest * (largest / smallest) ** rng.random()
    aspect, angle = rng.uniform(0.4, 1.0), rng.uniform(0, np.pi)
    y, x = rows - rng.uniform(-0.9, 0.9), columns - rng.uniform(-0.9, 0.9)
    along, across = turned(y, x, angle)
    distance = np.hypot(along, across / aspect) / radius + rough(
        rng, size, rng.uniform(1.2, 2.2)
    ) * rng.uniform(0, 0.35)
    edge = 2.0 / (size * radius) * rng.uniform(0.5, 2.5)
    return np.clip((1 - distance) / edge + 0.5, 0, 1).astype(np.float32)


def stroke(size: int, points: np.ndarray, width_px: float) -> np.ndarray:
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
    points = walk(rng, size, size * rng.uniform(0.01, 0.08), rng.uniform(0, 0.12), 12)
    mask = stroke(size, points, rng.uniform(0.6, 2.6))
    if rng.random() < 0.3:
        mask = mask * np.clip(noise(rng, size, 1.0) + 0.8, 0, 1)
    change = mask * strength(rng, surface)
    if rng.random() < 0.4:  # a groove has a bright and a dark flank
        change -= 0.7 * np.roll(change, int(rng.choice([-1, 1])), axis=int(rng.integers(2)))
    return surface + change, mask


def scuff(rng: np.random.Generator, surface: np.ndarray) -> Change:
    """A bundle of fine parallel scratches: handling, sliding, sanding."""
    size = len(surface)
    _, across = rotated(rng, size)
    where = region(rng, size, 0.08, 0.45)
    lines = np.sin(across * size * rng.uniform(0.4, 1.2) + 2 * noise(rng, size, 2.0)) - rng.uniform(0, 0.8)
    mask = where * np.clip(lines * 2, 0, 1) * np.clip(noise(rng, size, 1.5) + 1.2, 0, 1)
    return surface + mask * strength(rng, surface), mask


def crack(rng: np.random.Generator, surface: np.ndarray) -> Change:
    size = len(surface)
    points = walk(rng, size, size * rng.uniform(0.01, 0.04), rng.uniform(0.3, 0.8), int(rng.integers(8, 28)))
    mask = stroke(size, points, rng.uniform(0.5, 1.8))
    for _ in range(rng.integers(0, 3)):
        start = points[rng.integers(len(points))]
        branch = walk(rng, size, size * 0.02, 0.5, int(rng.integers(4, 10)))
        mask = np.maximum(mask, stroke(size, branch - branch[0] + start, rng.uniform(0.4, 1.2)))
    sign = 1 if rng.random() < 0.25 else -1
    return surface + mask * abs(strength(rng, surface)) * sign, mask


def pit(rng: np.random.Generator, surface: np.ndarray) -> Change:
    """Pores, blowholes, inclusions: dark or bright spots, some with a lit rim."""
    size = len(surface)
    mask = np.zeros_like(surface)
    for _ in range(rng.integers(1, 3 if rng.random() < 0.7 else 7)):
        mask = np.maximum(mask, region(rng, size, 0.015, 0.12))
    change = mask * (strength(rng, surface) * 1.4)
    if rng.random() < 0.5:
        shift = tuple(rng.integers(-2, 3, 2).tolist())
        rim = np.clip(np.roll(mask, shift, (0, 1)) - mask, 0, 1)
        change += rim * rng.uniform(0.05, 0.3)
    return surface + change, mask


def ring(rng: np.random.Generator, surface: np.ndarray) -> Change:
    """The rim of a bubble, a dried drop, a flake that lifts."""
    filled = region(rng, len(surface), 0.05, 0.35)
    inner = ndimage.gaussian_filter(filled, rng.uniform(1.0, 4.0), truncate=2.5)
    mask = np.clip(4 * inner * (1 - inner) - rng.uniform(0.0, 0.5), 0, 1)
    within = filled * (strength(rng, surface) * rng.uniform(0, 0.4))
    return surface + mask * strength(rng, surface) + within, np.maximum(mask, filled)


def stain(rng: np.random.Generator, surface: np.ndarray) -> Change:
    size = len(surface)
    mask = ndimage.gaussian_filter(region(rng, size, 0.1, 0.6), rng.uniform(0.3, 4), truncate=2.5)
    if rng.random() < 0.4:  # cloudy
        mask = mask * np.clip(0.7 + 0.4 * noise(rng, size, rng.uniform(1, 2)), 0, 1)
    return surface + mask * (strength(rng, surface) * rng.uniform(0.3, 1.0)), mask


def smear(rng: np.random.Generator, surface: np.ndarray) -> Change:
    """The texture is worn off, polished or out of order inside a region."""
    size = len(surface)
    mask = region(rng, size, 0.08, 0.5)
    style = rng.integers(4)
    if style == 0:
        other = ndimage.gaussian_filter(surface, rng.uniform(1.0, 4), truncate=2.5)
    elif style == 1:
        other = np.rot90(surface, int(rng.integers(1, 4)))
    elif style == 2:
        other = ndimage.uniform_filter1d(surface, int(rng.integers(5, 20)), axis=int(rng.integers(2)))
    else:
        other = surface.mean() + (surface - surface.mean()) * (-0.6, 0.25, 2.0)[int(rng.integers(3))]
    return surface + mask * (other - surface), mask


def erased(rng: np.random.Generator, surface: np.ndarray) -> Change:
    """Something that should be there is missing: the region is as plain as the ground."""
    mask = region(rng, len(surface), 0.06, 0.35)
    ground = float(np.quantile(surface[::4, ::4], rng.uniform(0.05, 0.95)))
    return surface + mask * (ground - surface), mask


def patch(rng: np.random.Generator, surface: np.ndarray) -> Change:
    """Something is where it should not be: a piece of the same surface, moved."""
    size = len(surface)
    if rng.random() < 0.5:
        mask = np.zeros_like(surface)
        height, width = (int(side) for side in rng.integers(size // 16, size // 3, 2))
        y, x = int(rng.integers(size - height)), int(rng.integers(size - width))
        mask[y : y + height, x : x + width] = 1
    else:
        mask = region(rng, size, 0.06, 0.3)
    shift = tuple(rng.integers(size // 8, size - size // 8, 2).tolist())
    other = np.roll(surface, shift, (0, 1))
    return surface + mask * (other - surface), mask


def foreign(rng: np.random.Generator, surface: np.ndarray) -> Change:
    """A patch of another material: fibre, chip, residue, label."""
    size = len(surface)
    if rng.random() < 0.4:
        mask = stroke(size, walk(rng, size, size * 0.03, 0.35, 14), rng.uniform(0.8, 3.5))
    else:
        mask = region(rng, size, 0.03, 0.3)
    grain = noise(rng, size, rng.uniform(0.2, 2)) * rng.uniform(0.01, 0.1)
    material = float(surface.mean()) + strength(rng, surface) + grain
    return surface + mask * (material - surface), mask


def warp(rng: np.random.Generator, surface: np.ndarray) -> Change:
    """A local displacement: bent threads, dents in a pattern, a shifted print."""
    size = len(surface)
    mask = ndimage.gaussian_filter(region(rng, size, 0.1, 0.4), size * rng.uniform(0.01, 0.04), truncate=2.5)
    angle, reach = rng.uniform(0, 2 * math.pi), size * rng.uniform(0.02, 0.08)
    return bent(surface, mask * (math.sin(angle) * reach), mask * (math.cos(angle) * reach)), mask


def dent(rng: np.random.Generator, surface: np.ndarray) -> Change:
    """A bump or hollow under directed light: one side brighter, the other darker."""
    size = len(surface)
    height = ndimage.gaussian_filter(
        region(rng, size, 0.04, 0.35), size * rng.uniform(0.01, 0.06), truncate=2.5
    )
    return _shaded(rng, surface, height)


def wrinkle(rng: np.random.Generator, surface: np.ndarray) -> Change:
    """A fold or ridge: a long bent line that is bright on one side and dark on the other."""
    size = len(surface)
    points = walk(rng, size, size * rng.uniform(0.03, 0.08), rng.uniform(0.05, 0.3), 12)
    line = stroke(size, points, rng.uniform(1.5, 6))
    return _shaded(rng, surface, ndimage.gaussian_filter(line, rng.uniform(0.8, 2.5), truncate=2.5))


def _shaded(rng: np.random.Generator, surface: np.ndarray, height: np.ndarray) -> Change:
    slope_y, slope_x = np.gradient(height)
    shade, _ = turned(slope_y, slope_x, rng.uniform(0, 2 * math.pi))
    shade = shade / max(float(np.abs(shade).max()), 1e-6)
    return surface + shade * (abs(strength(rng, surface)) * 1.3), np.clip(np.abs(shade) * 2, 0, 1)


def specks(rng: np.random.Generator, surface: np.ndarray) -> Change:
    """A cluster of tiny particles or pinholes."""
    size = len(surface)
    count = int(rng.integers(1, 25))
    centres = rng.uniform(0.1, 0.9, 2) * size + rng.normal(0, size * rng.uniform(0.02, 0.15), (count, 2))
    cells = np.clip(centres.astype(int), 0, size - 1)
    mask = np.zeros_like(surface)
    mask[cells[:, 0], cells[:, 1]] = 1
    mask = np.clip(ndimage.gaussian_filter(mask, rng.uniform(0.4, 1.0)) * rng.uniform(3, 7), 0, 1)
    return surface + mask * (strength(rng, surface) * 1.5), mask


def streak(rng: np.random.Generator, surface: np.ndarray) -> Change:
    """A straight band across the image: roller mark, missing thread, fold, coating line."""
    angle = (0.0, math.pi / 2, rng.uniform(0, math.pi))[int(rng.integers(3))]
    along, across = turned(*coordinates(len(surface)), angle)
    distance = np.abs(along - rng.uniform(-0.7, 0.7))
    mask = np.clip(1.5 - distance / rng.uniform(0.01, 0.06), 0, 1)
    if rng.random() < 0.5:
        mask = mask * np.clip((across - rng.uniform(-0.8, 0.3)) * 8, 0, 1)
    other = (
        surface + strength(rng, surface) * 0.7
        if rng.random() < 0.6
        else np.roll(surface, len(surface) // 5, int(rng.integers(2)))
    )
    return surface + mask * (other - surface), mask


DEFECTS: tuple[Defect, ...] = (
    scratch, scuff, crack, pit, ring, stain, smear, erased, patch, foreign, warp, dent, wrinkle, specks, streak,
)  # fmt: skip
DEFECT_NAMES: tuple[str, ...] = (*(defect.__name__ for defect in DEFECTS), "outline")
OUTLINE = len(DEFECTS)  # the part's own edge is broken: drawn by `shapes.bite`, not here
