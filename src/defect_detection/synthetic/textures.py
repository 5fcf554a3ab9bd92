"""Surfaces of materials without defects, as gray fields of height and albedo.

Every function takes ``(rng, size)`` and returns a float32 array of shape (size, size) with mean near 0 and
standard deviation near 1; `scene.py` gives it contrast, colour and light.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from defect_detection.synthetic.fields import coordinates, noise, normalise, rotated, streaks, turned

Texture = Callable[[np.random.Generator, int], np.ndarray]


def surface(rng: np.random.Generator, size: int) -> tuple[np.ndarray, int]:
    """Return a material and the index of the texture that it is mostly made of.

    Half are one of `TEXTURES`; the others join two: one on top of the other, side by side, or one bent by the other's relief.
    """
    kind, other = (int(index) for index in rng.integers(len(TEXTURES), size=2))
    field = TEXTURES[kind](rng, size)
    style = rng.random()
    if style < 0.5:
        return field, kind
    second = TEXTURES[other](rng, size)
    if style < 0.7:
        return normalise(field + rng.uniform(0.15, 0.7) * second), kind
    if style < 0.85:
        return normalise(field + _region(rng, size) * (second * rng.uniform(0.2, 1) - field)), kind
    depth = size * rng.uniform(0.01, 0.05)
    return bent(field, depth * noise(rng, size, 2.5), depth * noise(rng, size, 2.5)), kind


def _region(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return where the second material lies: a half, a band, or patches, float32 in [0, 1]."""
    style, softness = int(rng.integers(3)), rng.uniform(5, 60)
    along, _ = rotated(rng, size)
    if style == 0:
        edge = along - rng.uniform(-0.5, 0.5)
    elif style == 1:
        edge = rng.uniform(0.1, 0.5) - np.abs(along - rng.uniform(-0.5, 0.5))
    else:
        edge = 0.3 * (noise(rng, size, rng.uniform(1.5, 2.5)) - rng.uniform(0, 1))
    return np.clip(edge * softness + 0.5, 0, 1)


def bent(field: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> np.ndarray:
    """Displace a field by whole pixels, mirrored at its edges: ``field[y + dy, x + dx]``."""
    size = len(field)
    y, x = np.arange(size, dtype=np.int32)[:, None], np.arange(size, dtype=np.int32)[None, :]
    return field[_mirrored(y + dy.astype(np.int32), size), _mirrored(x + dx.astype(np.int32), size)]


def _mirrored(index: np.ndarray, size: int) -> np.ndarray:
    index = np.abs(index)
    return np.clip(np.where(index >= size, 2 * size - 2 - index, index), 0, size - 1)


def plain(rng: np.random.Generator, size: int) -> np.ndarray:
    return noise(rng, size, rng.uniform(2.2, 3.0))


def fractal(rng: np.random.Generator, size: int) -> np.ndarray:
    return noise(rng, size, rng.uniform(0.8, 1.8))


def grainy(rng: np.random.Generator, size: int) -> np.ndarray:
    return normalise(ndimage.gaussian_filter(noise(rng, size, 0.0), rng.uniform(0.4, 1.6), truncate=2.5))


def brushed(rng: np.random.Generator, size: int) -> np.ndarray:
    return streaks(rng, size, rng.uniform(4, 40))


def speckled(rng: np.random.Generator, size: int) -> np.ndarray:
    """Grains of two or three materials, as in granite, concrete or a composite."""
    field = noise(rng, size, rng.uniform(0.3, 1.0)) - 0.7 * noise(rng, size, 2.0)
    levels = rng.uniform(0.3, 1.5, size=rng.integers(1, 3))
    grains = sum((field > float(level)) * np.float32(rng.uniform(-1, 1)) for level in levels)
    return normalise(
        ndimage.gaussian_filter(grains + np.float32(0.2) * field, rng.uniform(0.3, 0.9), truncate=2.5)
    )


def wave(rng: np.random.Generator, phase: np.ndarray) -> np.ndarray:
    """Return a periodic profile of `phase` (in cycles), between a sine and a square."""
    sharpness = rng.uniform(0.5, 6)
    return np.tanh(sharpness * np.sin(2 * math.pi * phase + rng.uniform(0, 6.3)))


def striped(rng: np.random.Generator, size: int) -> np.ndarray:
    along, _ = rotated(rng, size)
    wobble = noise(rng, size, 2.5) * rng.uniform(0, 0.15)
    return normalise(
        wave(rng, along * rng.uniform(3, size / 10) + wobble) + 0.3 * grainy(rng, size) * rng.random()
    )


def woven(rng: np.random.Generator, size: int) -> np.ndarray:
    along, across = rotated(rng, size)
    wobble = noise(rng, size, 2.2) * rng.uniform(0, 0.1)
    pitch = rng.uniform(5, size / 8)
    warp, weft = wave(rng, along * pitch + wobble), wave(rng, across * pitch * rng.uniform(0.7, 1.4) + wobble)
    over = np.sin(math.pi * along * pitch) * np.sin(math.pi * across * pitch) > 0
    return normalise(np.where(over, warp, weft) + rng.uniform(0, 0.4) * noise(rng, size, 0.5))


def cellular(rng: np.random.Generator, size: int) -> np.ndarray:
    """Cells of random points: leather, crystals, foam, depending on which distance is drawn."""
    points = rng.uniform(-1.1, 1.1, size=(int(rng.integers(12, 160)), 2))
    rows, columns = coordinates(size)
    pixels = np.stack([rows, columns], -1).reshape(-1, 2)
    style = rng.integers(3)
    if style == 0:
        field = rng.standard_normal(len(points))[cKDTree(points).query(pixels)[1]]
    elif style == 1:
        field = cKDTree(points).query(pixels)[0] * math.sqrt(len(points))
    else:
        nearest, second = cKDTree(points).query(pixels, k=2)[0].T
        field = np.minimum((second - nearest) * math.sqrt(len(points)) * rng.uniform(2, 6), 1)
    smooth = ndimage.gaussian_filter(field.astype(np.float32).reshape(size, size), rng.uniform(0.3, 1.0))
    return normalise(smooth)


def dotted(rng: np.random.Generator, size: int) -> np.ndarray:
    """A regular grid of dots, holes or bumps."""
    along, across = rotated(rng, size)
    pitch = rng.uniform(3, size / 12)
    shift = np.floor(along * pitch) % 2 * (0.5 * int(rng.integers(2)))
    distance = np.hypot((along * pitch) % 1 - 0.5, (across * pitch + shift) % 1 - 0.5)
    radius, softness = rng.uniform(0.15, 0.4), rng.uniform(0.03, 0.15)
    dots = np.clip(0.5 - (distance - radius) / (4 * softness), 0, 1)
    return normalise(dots + 0.15 * rng.random() * fractal(rng, size))


def ringed(rng: np.random.Generator, size: int) -> np.ndarray:
    """Rings around a centre, near or far: turning marks, annual rings."""
    rows, columns = coordinates(size)
    radius = np.hypot(rows - rng.uniform(-2, 2), (columns - rng.uniform(-2, 2)) * rng.uniform(0.6, 1.6))
    wobble = noise(rng, size, rng.uniform(1.6, 2.5)) * rng.uniform(0, 0.4)
    return normalise(
        wave(rng, radius * rng.uniform(3, size / 10) + wobble) + 0.3 * rng.random() * brushed(rng, size)
    )


def tiled(rng: np.random.Generator, size: int) -> np.ndarray:
    """Rectangles with joints, equal or each of its own shade: bricks, cells of a panel, keys."""
    along, across = rotated(rng, size) if rng.random() < 0.3 else coordinates(size)
    rows, columns = rng.uniform(1.5, 7, size=2).tolist()
    row = np.floor(along * rows)
    across = across * columns + row % 2 * (0.5 * int(rng.integers(2)))
    joint = np.minimum(0.5 - np.abs((along * rows) % 1 - 0.5), 0.5 - np.abs(across % 1 - 0.5))
    grid = np.clip(joint / rng.uniform(0.02, 0.12), 0, 1)
    if rng.random() < 0.4:
        shades = rng.uniform(-0.7, 0.7, 64).astype(np.float32)
        grid = grid + grid * shades[(row * 7 + np.floor(across)).astype(np.int32) % 64]
    return normalise(grid + rng.uniform(0, 0.5) * fractal(rng, size))


def printed(rng: np.random.Generator, size: int) -> np.ndarray:
    """Random rectangles, bars and discs, as on labels and boards; part of the design, not defects."""
    field = np.zeros((size, size), np.float32)
    rows, columns = coordinates(size)
    for _ in range(rng.integers(3, 14)):
        centre_y, centre_x = rng.uniform(-1, 1, 2).tolist()
        half_y, half_x = rng.uniform(0.03, 0.5, 2).tolist()
        if rng.random() < 0.25:
            inside = (rows - centre_y) ** 2 + (columns - centre_x) ** 2 < (half_y * 0.6) ** 2
            field[inside] = rng.uniform(-1, 1)
        else:
            field[_span(centre_y, half_y, size), _span(centre_x, half_x, size)] = rng.uniform(-1, 1)
    return normalise(
        ndimage.gaussian_filter(field, rng.uniform(0.4, 1.0)) + 0.1 * rng.random() * noise(rng, size, 0.5)
    )


def _span(centre: float, half: float, size: int) -> slice:
    """Return the pixels from ``centre - half`` to ``centre + half``, both in [-1, 1] coordinates."""
    low, high = (round((edge + 1) / 2 * size) for edge in (centre - half, centre + half))
    return slice(max(low, 0), max(high, 0))


def rippled(rng: np.random.Generator, size: int) -> np.ndarray:
    """A warped regular pattern: knit, hammered sheet, fabric folds."""
    along, across = rotated(rng, size)
    warp = noise(rng, size, 2.4) * rng.uniform(0.02, 0.2)
    pitch = 2 * math.pi * rng.uniform(3, size / 12)
    return normalise(np.sin((along + warp) * pitch) * np.cos((across - warp) * pitch))


def fibrous(rng: np.random.Generator, size: int) -> np.ndarray:
    """Fibres that cross: paper, felt, fleece, hair-line finish in two directions."""
    layers = [streaks(rng, size, rng.uniform(6, 40)) for _ in range(int(rng.integers(2, 4)))]
    return normalise(np.maximum.reduce(layers) if rng.random() < 0.5 else np.add.reduce(layers))


def embossed(rng: np.random.Generator, size: int) -> np.ndarray:
    """A relief under slanting light: what another texture's height looks like."""
    height = (fractal, cellular, dotted, printed, woven)[int(rng.integers(5))](rng, size)
    slope_y, slope_x = np.gradient(height)
    slope, _ = turned(slope_y, slope_x, rng.uniform(0, 2 * math.pi))
    return normalise(np.tanh(slope / max(float(slope.std()), 1e-6) * rng.uniform(0.3, 1.5)))


def veined(rng: np.random.Generator, size: int) -> np.ndarray:
    """Thin lines between soft regions: marble, crackled glaze, grain boundaries, wood."""
    field = noise(rng, size, rng.uniform(1.4, 2.4))
    width = rng.uniform(0.03, 0.25)
    lines = np.exp(-((field - rng.uniform(-0.6, 0.6)) ** 2) / (2 * width * width))
    return normalise(lines * rng.uniform(-1, 1) + rng.uniform(0.1, 0.6) * noise(rng, size, 1.5))


TEXTURES: tuple[Texture, ...] = (
    plain, fractal, grainy, brushed, speckled, striped, woven, cellular,
    dotted, ringed, tiled, printed, rippled, fibrous, embossed, veined,
)  # fmt: skip
