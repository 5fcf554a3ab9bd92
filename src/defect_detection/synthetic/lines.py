"""Production lines of the sample data: each makes one product, photographed by one camera.

Outline, colour, set-up of the light and pitch belong to the line; grain, small shifts and turns to each part.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from defect_detection.synthetic.camera import Light, PlacedPart, mottled, tinted
from defect_detection.synthetic.fields import coordinates, spectral

Holes = list[tuple[float, float, float]]
_THREADS = 15.0  # per half image width


@dataclass(frozen=True)
class Line:
    """One product and its camera.

    name: of the product.
    build: draws a flawless part.
    light: as set up; it varies a little from image to image.
    flaws: what goes wrong on this line.
    gray: the camera sees no colour.
    """

    name: str
    build: Callable[[np.random.Generator, int], PlacedPart]
    light: Light
    flaws: tuple[str, ...]
    gray: bool = False


def _posed(rng: np.random.Generator, size: int, turn: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Return a part's own coordinates (y, x) when it lies shifted a little and turned by up to `turn`."""
    rows, columns = coordinates(size)
    angle = rng.uniform(-turn, turn)
    rows, columns = rows - rng.normal(0, 0.015), columns - rng.normal(0, 0.015)
    y = rows * math.cos(angle) + columns * math.sin(angle)
    x = columns * math.cos(angle) - rows * math.sin(angle)
    return y, x, angle


def _rectangle(y: np.ndarray, x: np.ndarray, half: tuple[float, float], corner: float) -> np.ndarray:
    dy, dx = np.abs(y) - half[0] + corner, np.abs(x) - half[1] + corner
    return np.hypot(np.maximum(dy, 0), np.maximum(dx, 0)) + np.minimum(np.maximum(dy, dx), 0) - corner


def _drilled(distance: np.ndarray, y: np.ndarray, x: np.ndarray, holes: Holes) -> np.ndarray:
    """Cut round holes, given as (y, x, radius), out of an outline."""
    for hole_y, hole_x, radius in holes:
        distance = np.maximum(distance, radius - np.hypot(y - hole_y, x - hole_x))
    return distance


def _circle_of(count: int, reach: float, radius: float, start: float = 0.0) -> Holes:
    angles = [start + 2 * math.pi * number / count for number in range(count)]
    return [(reach * math.sin(angle), reach * math.cos(angle), radius) for angle in angles]


def _raised(distance: np.ndarray, step_px: float) -> np.ndarray:
    """Return a step of that height, with a slope two to three pixels wide, where `distance` is negative."""
    return step_px / (1 + np.exp(np.clip(distance * len(distance) / 2, -30, 30)))


def _marks(rng: np.random.Generator, along: np.ndarray, spread_px: float) -> np.ndarray:
    """Return tool marks: noise that depends on one coordinate (in half image widths) only."""
    profile = ndimage.gaussian_filter1d(rng.standard_normal(1024), spread_px)
    return np.interp(along, np.linspace(-2, 2, 1024), profile / profile.std()).astype(np.float32)


def _streaks(rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return brush marks along x, in the part's own coordinates."""
    canvas = rng.standard_normal((256, 256), dtype=np.float32)
    for length in (31, 47):
        canvas = ndimage.uniform_filter1d(canvas, length, axis=1, mode="wrap")
    canvas = ndimage.gaussian_filter1d(canvas, 0.5, axis=0, mode="wrap")
    places = [(y + 1.3) * 98, (x + 1.3) * 98]
    return ndimage.map_coordinates(canvas / canvas.std(), places, order=1, mode="grid-wrap")


def ring(rng: np.random.Generator, size: int) -> PlacedPart:
    """A turned steel flange with six holes on a dark mat; it lies at any angle."""
    y, x, angle = _posed(rng, size, math.pi)
    radius = np.hypot(y, x)
    distance = np.maximum(radius - 0.86, 0.34 - radius)
    distance = _drilled(distance, y, x, _circle_of(6, 0.66, 0.075))
    marks = _marks(rng, radius, 2.0) + 0.4 * spectral(rng, size, 1.2)
    albedo = tinted((0.16 + 0.014 * marks) * mottled(rng, size, 0.03), (1.0, 0.99, 0.97))
    brushing = np.arctan2(x, -y) - angle + 0.03 * marks
    ground = tinted(0.025 * mottled(rng, size, 0.3, 0.6), (0.9, 1.0, 1.1))
    height = 0.08 * marks + _raised(radius - 0.48, 1.6)
    return PlacedPart(distance, height, albedo, ground, y, x, gloss=0.62, brushing=brushing)


def plate(rng: np.random.Generator, size: int) -> PlacedPart:
    """A brushed aluminium cover with four screw holes and a slot, in a fixture on a blue belt."""
    y, x, angle = _posed(rng, size, 0.05)
    distance = _rectangle(y, x, (0.62, 0.88), 0.12)
    corners = [(i * 0.46, j * 0.72, 0.06) for i in (-1, 1) for j in (-1, 1)]
    distance = _drilled(distance, y, x, corners)
    distance = np.maximum(distance, -_rectangle(y - 0.22, x, (0.055, 0.3), 0.055))
    streaks = _streaks(rng, y, x)
    albedo = tinted((0.22 + 0.018 * streaks) * mottled(rng, size, 0.02, 2.0), (0.98, 0.99, 1.0))
    ground = tinted(0.10 * mottled(rng, size, 0.12, 0.9), (0.35, 0.7, 1.6))
    brushing = -angle + 0.05 * streaks + 0.02 * spectral(rng, size, 2.0)
    return PlacedPart(distance, 0.06 * streaks, albedo, ground, y, x, gloss=0.33, brushing=brushing)


def fabric(rng: np.random.Generator, size: int) -> PlacedPart:
    """A twill of light warp and blue weft, passing under the camera."""
    y, x, _ = _posed(rng, size, 0.04)
    y, x = y + rng.uniform(0, 4) / _THREADS, x + rng.uniform(0, 4) / _THREADS
    warp_at = x * _THREADS + 0.12 * spectral(rng, size, 2.0)
    weft_at = y * _THREADS + 0.12 * spectral(rng, size, 2.0)
    column, row = np.floor(warp_at), np.floor(weft_at)
    over = (column - row) % 4 < 2
    round_warp = np.sqrt(np.clip(1 - (2 * (warp_at - column) - 1) ** 2, 0, 1))
    round_weft = np.sqrt(np.clip(1 - (2 * (weft_at - row) - 1) ** 2, 0, 1))
    thread = 1 + 0.07 * rng.standard_normal((2, 64), dtype=np.float32)
    fibres = mottled(rng, size, 0.10, 0.4)
    warp = tinted(0.50 * thread[0, column.astype(int) % 64] * fibres, (0.92, 0.90, 0.82))
    weft = tinted(0.30 * thread[1, row.astype(int) % 64] * fibres, (0.35, 0.62, 1.0))
    height = 1.3 * np.where(over, round_warp, round_weft)
    albedo = np.where(over[..., None], warp, weft) * (0.45 + 0.55 * (height / 1.3))[..., None]
    return PlacedPart(np.full_like(height, -1.0), height, albedo, albedo * 0.1, y, x, gloss=0.0)


def casting(rng: np.random.Generator, size: int) -> PlacedPart:
    """A housing cover of grey iron, as cast, with a bore and a boss; the camera sees no colour."""
    y, x, _ = _posed(rng, size, 0.12)
    body = np.maximum(_rectangle(y, x, (0.82, 0.82), 0.3), (np.abs(y) + np.abs(x)) / math.sqrt(2) - 0.92)
    radius = np.hypot(y, x)
    distance = np.maximum(body, 0.24 - radius)
    distance = _drilled(distance, y, x, _circle_of(4, 0.84, 0.07, math.pi / 4))
    rib = np.minimum(np.abs(y), np.abs(x)) - 0.05
    height = _raised(radius - 0.42, 2.5) + _raised(np.maximum(rib, radius - 0.72), 1.5)
    skin = 0.9 * spectral(rng, size, 1.3) + 0.45 * spectral(rng, size, 0.3, low=6)
    albedo = tinted(0.30 * mottled(rng, size, 0.09, 1.1), (1.0, 1.0, 1.0))
    ground = tinted(0.03 * mottled(rng, size, 0.3, 0.8), (1.0, 1.0, 1.0))
    return PlacedPart(distance, height + 0.42 * skin, albedo, ground, y, x, gloss=0.03)


def cap(rng: np.random.Generator, size: int) -> PlacedPart:
    """A moulded orange cap with a grip edge and an embossed arrow on a light belt."""
    y, x, _ = _posed(rng, size, 0.25)
    radius, theta = np.hypot(y, x), np.arctan2(y, x)
    distance = radius - 0.80 - 0.022 * np.tanh(3 * np.sin(28 * theta))
    arrow = np.maximum(np.maximum(y - 0.18, -y * 0.5 + np.abs(x) * 0.87 - 0.16), -0.34 - y)
    dome = 9.0 * np.sqrt(np.clip(1.25 - radius**2, 0, None))
    height = dome + _raised(0.56 - radius, 2.0) + _raised(arrow, 1.3) + 0.05 * spectral(rng, size, 1.0)
    albedo = tinted(0.62 * mottled(rng, size, 0.025, 2.2), (1.0, 0.26, 0.04))
    ground = tinted(0.42 * mottled(rng, size, 0.05, 1.0), (0.92, 0.97, 0.94))
    return PlacedPart(distance, height, albedo, ground, y, x, gloss=0.5)


LINES: tuple[Line, ...] = (
    Line("plate", plate, Light(-1.4, 0.85, 1.15, 0.08), ("scratch", "dent", "stain")),
    Line("fabric", fabric, Light(0.6, 0.7, 1.1, 0.12), ("missing_thread", "stain", "contamination")),
    Line("casting", casting, Light(-2.6, 0.6, 1.2, 0.15), ("pit", "crack"), gray=True),
    Line("ring", ring, Light(-2.2, 0.75, 1.15, 0.10), ("scratch", "dent", "chip")),
    Line("cap", cap, Light(-2.0, 0.8, 0.95, 0.06), ("scratch", "contamination", "chip")),
)
