"""Surfaces: what a flawless material looks like, as height-and-albedo-like gray fields.

Every function takes ``(rng, size)`` and returns a float32 array of shape (size, size) with mean near 0 and
standard deviation near 1; `scene.py` gives it contrast, colour and light.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

Texture = Callable[[np.random.Generator, int], np.ndarray]


def normalise(field: np.ndarray) -> np.ndarray:
    """Shift and scale a field to mean 0 and standard deviation 1 (a constant field becomes 0)."""
    field = field - field.mean()
    return (field / max(float(field.std()), 1e-6)).astype(np.float32)


def coordinates(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column coordinates in [-1, 1], each float32 of shape (size, size)."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    rows, columns = np.meshgrid(axis, axis, indexing="ij")
    return rows, columns


def rotated(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates along and across a random direction."""
    rows, columns = coordinates(size)
    angle = rng.uniform(0, np.pi)
    return rows * np.cos(angle) + columns * np.sin(angle), columns * np.cos(angle) - rows * np.sin(angle)


def spectral(
    rng: np.random.Generator, size: int, slope: float, stretch: float = 1.0, low: float = 0.0
) -> np.ndarray:
    """Return Gaussian noise with amplitude spectrum 1 / f**slope, stretched along a random direction.

    `low` (cycles per image) cuts what is coarser, so that large values give fine grain.
    """
    frequency_y = np.fft.fftfreq(size)[:, None] * size
    frequency_x = np.fft.rfftfreq(size)[None, :] * size
    angle = rng.uniform(0, np.pi)
    along = frequency_y * np.cos(angle) + frequency_x * np.sin(angle)
    across = frequency_x * np.cos(angle) - frequency_y * np.sin(angle)
    radius = np.sqrt((along * stretch) ** 2 + across**2)
    amplitude = np.where(radius > low, 1.0 / np.maximum(radius, 1.0) ** slope, 0.0)
    noise = np.fft.rfft2(rng.standard_normal((size, size), dtype=np.float32))
    return normalise(np.fft.irfft2(noise * amplitude, s=(size, size)))


def plain(rng: np.random.Generator, size: int) -> np.ndarray:
    return spectral(rng, size, rng.uniform(2.2, 3.0))


def fractal(rng: np.random.Generator, size: int) -> np.ndarray:
    return spectral(rng, size, rng.uniform(0.8, 1.8))


def grainy(rng: np.random.Generator, size: int) -> np.ndarray:
    return normalise(
        ndimage.gaussian_filter(rng.standard_normal((size, size), dtype=np.float32), rng.uniform(0.4, 1.6))
    )


def brushed(rng: np.random.Generator, size: int) -> np.ndarray:
    return spectral(rng, size, rng.uniform(0.5, 1.1), stretch=rng.uniform(5, 30))


def speckled(rng: np.random.Generator, size: int) -> np.ndarray:
    """Grains of two or three materials, as in granite, concrete or a composite."""
    field = spectral(rng, size, rng.uniform(0.3, 1.0), low=rng.uniform(2, 8))
    levels = rng.uniform(0.3, 1.5, size=rng.integers(1, 3))
    grains = sum((field > level).astype(np.float32) * rng.uniform(-1, 1) for level in levels)
    return normalise(ndimage.gaussian_filter(grains + 0.2 * field, rng.uniform(0.3, 0.9)))


def wave(rng: np.random.Generator, phase: np.ndarray) -> np.ndarray:
    """Return a periodic profile of `phase` (in cycles), between a sine and a square."""
    sharpness = rng.uniform(0.5, 6)
    return np.tanh(sharpness * np.sin(2 * np.pi * phase + rng.uniform(0, 6.3)))


def striped(rng: np.random.Generator, size: int) -> np.ndarray:
    along, _ = rotated(rng, size)
    wobble = spectral(rng, size, 2.5) * rng.uniform(0, 0.15)
    return normalise(
        wave(rng, along * rng.uniform(3, size / 10) + wobble) + 0.3 * grainy(rng, size) * rng.random()
    )


def woven(rng: np.random.Generator, size: int) -> np.ndarray:
    along, across = rotated(rng, size)
    wobble = spectral(rng, size, 2.2) * rng.uniform(0, 0.1)
    pitch = rng.uniform(5, size / 8)
    warp, weft = wave(rng, along * pitch + wobble), wave(rng, across * pitch * rng.uniform(0.7, 1.4) + wobble)
    over = np.sin(np.pi * along * pitch) * np.sin(np.pi * across * pitch) > 0
    return normalise(np.where(over, warp, weft) + rng.uniform(0, 0.4) * grainy(rng, size))


def cellular(rng: np.random.Generator, size: int) -> np.ndarray:
    """Cells of random points: leather, crystals, foam, depending on which distance is drawn."""
    points = rng.uniform(-1.1, 1.1, size=(int(rng.integers(12, 160)), 2))
    rows, columns = coordinates(size)
    distances, nearest = cKDTree(points).query(np.stack([rows, columns], -1).reshape(-1, 2), k=2)
    style = rng.integers(3)
    if style == 0:
        field = rng.standard_normal(len(points))[nearest[:, 0]]
    elif style == 1:
        field = distances[:, 0] * np.sqrt(len(points))
    else:
        field = np.minimum((distances[:, 1] - distances[:, 0]) * np.sqrt(len(points)) * rng.uniform(2, 6), 1)
    return normalise(ndimage.gaussian_filter(field.reshape(size, size), rng.uniform(0.3, 1.0)))


def dotted(rng: np.random.Generator, size: int) -> np.ndarray:
    """A regular grid of dots, holes or bumps."""
    along, across = rotated(rng, size)
    pitch = rng.uniform(3, size / 12)
    shift = np.floor(along * pitch) % 2 * 0.5 * rng.integers(2)
    distance = np.hypot((along * pitch) % 1 - 0.5, (across * pitch + shift) % 1 - 0.5)
    radius, softness = rng.uniform(0.15, 0.4), rng.uniform(0.03, 0.15)
    dots = 1 / (1 + np.exp(np.clip((distance - radius) / softness, -20, 20)))
    return normalise(dots + 0.15 * rng.random() * fractal(rng, size))


def ringed(rng: np.random.Generator, size: int) -> np.ndarray:
    """Rings around a centre, near or far: turning marks, annual rings."""
    rows, columns = coordinates(size)
    radius = np.hypot(rows - rng.uniform(-2, 2), (columns - rng.uniform(-2, 2)) * rng.uniform(0.6, 1.6))
    wobble = spectral(rng, size, rng.uniform(1.6, 2.5)) * rng.uniform(0, 0.4)
    return normalise(
        wave(rng, radius * rng.uniform(3, size / 10) + wobble) + 0.3 * rng.random() * brushed(rng, size)
    )


def tiled(rng: np.random.Generator, size: int) -> np.ndarray:
    """Rectangles with joints: bricks, cells of a panel, keys."""
    along, across = rotated(rng, size) if rng.random() < 0.3 else coordinates(size)
    rows, columns = rng.uniform(1.5, 7, size=2)
    shift = np.floor(along * rows) % 2 * 0.5 * rng.integers(2)
    joint = np.minimum(
        0.5 - np.abs((along * rows) % 1 - 0.5), 0.5 - np.abs((across * columns + shift) % 1 - 0.5)
    )
    grid = np.clip(joint / rng.uniform(0.02, 0.12), 0, 1)
    return normalise(grid + rng.uniform(0, 0.5) * fractal(rng, size))


def printed(rng: np.random.Generator, size: int) -> np.ndarray:
    """Random rectangles, bars and discs, as on labels and boards; part of the design, not defects."""
    field = np.zeros((size, size), np.float32)
    rows, columns = coordinates(size)
    for _ in range(rng.integers(3, 14)):
        centre_y, centre_x = rng.uniform(-1, 1, 2)
        half = rng.uniform(0.03, 0.5, 2)
        if rng.random() < 0.25:
            inside = np.hypot(rows - centre_y, columns - centre_x) < half[0] * 0.6
        else:
            inside = (np.abs(rows - centre_y) < half[0]) & (np.abs(columns - centre_x) < half[1])
        field[inside] = rng.uniform(-1, 1)
    return normalise(
        ndimage.gaussian_filter(field, rng.uniform(0.4, 1.0)) + 0.1 * rng.random() * grainy(rng, size)
    )


def rippled(rng: np.random.Generator, size: int) -> np.ndarray:
    """A warped regular pattern: knit, hammered sheet, fabric folds."""
    along, across = rotated(rng, size)
    warp = spectral(rng, size, 2.4) * rng.uniform(0.02, 0.2)
    pitch = rng.uniform(3, size / 12)
    return normalise(np.sin(2 * np.pi * (along + warp) * pitch) * np.cos(2 * np.pi * (across - warp) * pitch))


TEXTURES: tuple[Texture, ...] = (
    plain, fractal, grainy, brushed, speckled, striped, woven,
    cellular, dotted, ringed, tiled, printed, rippled,
)  # fmt: skip
