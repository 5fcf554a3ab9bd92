"""The camera over a production line: renders the shape and colour of a part under light."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from defect_detection.synthetic.fields import coordinates, spectral

_BEVEL_PX = 3.0
_BLUR_PX = 0.6  # of the lens
_BRUSHED = 24  # how narrow the highlight across brush marks is
_AMBIENT = 0.35  # of the lamp's power: light from everywhere


@dataclass(frozen=True)
class PlacedPart:
    """What lies before the camera. Fields have shape (size, size), float32.

    distance: signed distance to the outline, negative inside, in half image widths.
    height: relief in pixels; the bevelled edge is added by the camera.
    albedo: share of the light that is thrown back, (size, size, 3), RGB, linear.
    ground: the same for what the part lies on.
    y, x: the part's own coordinates, in half image widths.
    gloss: strength of the mirror-like highlight, one number or (size, size).
    brushing: direction of the brush marks in radians (sine down the rows); None where there are none.
    """

    distance: np.ndarray
    height: np.ndarray
    albedo: np.ndarray
    ground: np.ndarray
    y: np.ndarray
    x: np.ndarray
    gloss: float | np.ndarray
    brushing: np.ndarray | None = None


@dataclass(frozen=True)
class Light:
    """One lamp: where it stands (radians), how strong it is, and how much it fades across the image."""

    angle: float
    elevation: float
    power: float
    fading: float


def expose(part: PlacedPart, light: Light) -> np.ndarray:
    """Return the linear brightness (size, size, 3) that reaches the sensor."""
    size = len(part.height)
    inside = np.clip(0.5 - part.distance * size / 2, 0, 1)[..., None]
    diffuse, highlight = _reflections(part, light)
    lit = part.albedo * (_AMBIENT + diffuse)[..., None] + (part.gloss * highlight)[..., None]
    shade = (_AMBIENT + math.sin(light.elevation)) * (1 - 0.7 * _shadow(inside[..., 0], light))
    scene = lit * inside + part.ground * shade[..., None] * (1 - inside)
    scene = scene * (light.power * _falloff(light, size))[..., None]
    return ndimage.gaussian_filter(scene, (_BLUR_PX, _BLUR_PX, 0))


def develop(linear: np.ndarray, rng: np.random.Generator | None = None, *, gray: bool = False) -> np.ndarray:
    """Return the image, uint8 (size, size, 3), with the sensor's noise (shot, read) when `rng` is given."""
    if gray:
        linear = np.repeat(linear.mean(-1, keepdims=True), 3, -1)
    if rng is not None:
        grain = rng.standard_normal((*linear.shape[:2], 1 if gray else 3), dtype=np.float32)
        linear = linear + grain * (0.004 + 0.018 * np.sqrt(np.clip(linear, 0, 1)))
    return np.round(np.clip(linear, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)


def _reflections(part: PlacedPart, light: Light) -> tuple[np.ndarray, np.ndarray]:
    """Return diffuse (Lambert) and mirror-like (Blinn; along brush marks Kajiya-Kay) reflection."""
    depth_px = -part.distance * len(part.height) / 2
    slope_y, slope_x = np.gradient(part.height + np.sqrt(np.clip(depth_px, 0, _BEVEL_PX) * _BEVEL_PX))
    up, level = math.sin(light.elevation), math.cos(light.elevation)
    lamp_y, lamp_x = math.sin(light.angle) * level, math.cos(light.angle) * level
    length = np.sqrt(slope_y**2 + slope_x**2 + 1)
    lamp_wards = slope_y * lamp_y + slope_x * lamp_x
    diffuse = np.clip(up - lamp_wards, 0, None) / length
    halfway = math.sqrt(2 + 2 * up)  # length of lamp direction + camera direction
    facing = np.clip((up + 1 - lamp_wards) / (halfway * length), 0, 1)
    if part.brushing is None:
        return diffuse, facing**40
    along = (np.sin(part.brushing) * lamp_y + np.cos(part.brushing) * lamp_x) / halfway
    return diffuse, (1 - along**2) ** _BRUSHED * facing**4


def _shadow(inside: np.ndarray, light: Light) -> np.ndarray:
    """Return how much of the lamp is hidden from the ground beside the part, in [0, 1]."""
    reach_px = 3.0 / max(math.tan(light.elevation), 0.5)
    shift = (round(-reach_px * math.sin(light.angle)), round(-reach_px * math.cos(light.angle)))
    return ndimage.gaussian_filter(np.roll(inside, shift, (0, 1)), 2.5)


def _falloff(light: Light, size: int) -> np.ndarray:
    rows, columns = coordinates(size)
    slope = rows * math.sin(light.angle) + columns * math.cos(light.angle)
    return 1 + light.fading * slope - 0.12 * (rows**2 + columns**2)


def tinted(field: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    """Return ``field * colour`` as (size, size, 3)."""
    return field[..., None] * np.asarray(colour, np.float32)


def mottled(rng: np.random.Generator, size: int, amount: float, slope: float = 1.4) -> np.ndarray:
    """Return a field around 1 that varies by `amount`, as dirt, casting skin and cloth do."""
    return np.clip(1 + amount * spectral(rng, size, slope), 0.05, None)
