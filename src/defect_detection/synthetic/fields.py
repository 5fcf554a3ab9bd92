"""Building blocks of surfaces, parts and defects: coordinate and noise fields, float32 of shape (size, size).

`spectral` draws noise exactly as asked for. Scenes for pre-training need hundreds of fields a second: `noise` and `streaks` cut them
from a pool that is drawn once in a process and depends on the size alone, so a scene still depends on nothing but its seed.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np

_SLOPES = tuple(step / 4 for step in range(13))  # of the pool: 0 (white) to 3 (smooth)
_PER_SLOPE = 6
_STRETCHES = (4.0, 8.0, 16.0, 32.0)
_DIRECTIONS = 12  # stretched fields of the pool per stretch, each along a random direction


def normalise(field: np.ndarray) -> np.ndarray:
    """Shift and scale a field to mean 0 and standard deviation 1 (a constant field becomes 0)."""
    field = field - field.mean()
    return (field / max(float(field.std()), 1e-6)).astype(np.float32)


@lru_cache(maxsize=8)
def coordinates(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column coordinates in [-1, 1], each float32 of shape (size, size), read-only."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    rows, columns = np.meshgrid(axis, axis, indexing="ij")
    rows.flags.writeable = columns.flags.writeable = False
    return rows, columns


def turned(y: Any, x: Any, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates (or the parts of a slope) along and across a direction (radians)."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return y * cosine + x * sine, x * cosine - y * sine


def rotated(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates along and across a random direction."""
    return turned(*coordinates(size), rng.uniform(0, math.pi))


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


def noise(rng: np.random.Generator, size: int, slope: float) -> np.ndarray:
    """Return noise with an amplitude spectrum of about 1 / f**slope, from 0 to 3."""
    row = min(round(slope * 4), len(_SLOPES) - 1) * _PER_SLOPE + int(rng.integers(_PER_SLOPE))
    return normalise(_window(rng, _pool(size)[row], size))


def streaks(rng: np.random.Generator, size: int, stretch: float) -> np.ndarray:
    """Return noise that is drawn out about `stretch` times (4 to 32) along a random direction."""
    nearest = min(range(len(_STRETCHES)), key=lambda i: abs(math.log(_STRETCHES[i] / stretch)))
    row = nearest * _DIRECTIONS + int(rng.integers(_DIRECTIONS))
    return normalise(_window(rng, _stretched_pool(size)[row], size))


def _window(rng: np.random.Generator, field: np.ndarray, size: int) -> np.ndarray:
    """Cut a window in one of its eight flips and turns."""
    y, x, turn = (int(value) for value in rng.integers(0, (len(field) - size + 1, len(field) - size + 1, 8)))
    window = field[y : y + size, x : x + size]
    return np.rot90(window if turn < 4 else window[::-1], turn % 4)


@lru_cache(maxsize=2)
def _pool(size: int) -> np.ndarray:
    rng = np.random.default_rng(size)
    return np.stack([spectral(rng, 2 * size, slope) for slope in _SLOPES for _ in range(_PER_SLOPE)])


@lru_cache(maxsize=2)
def _stretched_pool(size: int) -> np.ndarray:
    rng = np.random.default_rng([size, 1])
    rows = [(stretch, rng.uniform(0.5, 1.1)) for stretch in _STRETCHES for _ in range(_DIRECTIONS)]
    return np.stack([spectral(rng, 2 * size, slope, stretch) for stretch, slope in rows])
