"""Scenes: a surface or a part, with or without defects, under light, through optics, onto a sensor."""

import math
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image
from scipy import ndimage

from defect_detection.synthetic import shapes
from defect_detection.synthetic.defects import DEFECTS, OUTLINE
from defect_detection.synthetic.fields import coordinates, noise, turned
from defect_detection.synthetic.textures import TEXTURES, surface

N_BACKGROUNDS = 2 * len(TEXTURES)  # the texture alone, or a part made of it
_VISIBLE = 0.02  # of full scale: a change below this is no defect that anyone could see
_FEWEST_PX = 3
_LEVELS = 1024  # of a brightness field when it is coloured by a table
Masks = dict[int, np.ndarray]


@dataclass(frozen=True)
class Scene:
    """One drawn image.

    image: uint8 array of shape (size, size, 3), RGB.
    background: index below `N_BACKGROUNDS`.
    masks: {defect type index: bool array of shape (size, size)}; empty for an OK image.
    """

    image: np.ndarray
    background: int
    masks: Masks


def draw(rng: np.random.Generator, size: int, n_defects: int) -> Scene:
    """Draw one scene with `n_defects` attempts at a defect (one that would be invisible is left out)."""
    is_part, gray = bool(rng.random() < 0.4), bool(rng.random() < 0.45)
    field, kind = surface(rng, size)
    brightness, contrast = rng.uniform(0.2, 0.8), 0.28 * rng.random() ** 1.5 + 0.01
    whole = _outline(rng, size) if is_part else None
    field, broken, masks = _damaged(rng, brightness + contrast * field, whole, n_defects)
    rgb = _coloured(rng, field, gray)
    if not gray:
        rgb = _dyed(rng, rgb, masks)
    if whole is not None and broken is not None:
        rgb, edge = _mount(rng, rgb, whole, broken, gray)
        if edge.sum() >= _FEWEST_PX:
            masks[OUTLINE] = edge
    return Scene(_photograph(rng, rgb, gray), kind + is_part * len(TEXTURES), masks)


def _outline(rng: np.random.Generator, size: int) -> np.ndarray:
    return shapes.many(rng, size) if rng.random() < 0.25 else shapes.outline(rng, size)


def _damaged(
    rng: np.random.Generator, field: np.ndarray, outline: np.ndarray | None, n_defects: int
) -> tuple[np.ndarray, np.ndarray | None, Masks]:
    """Return surface and outline after `n_defects` attempts, and where each defect of the surface shows."""
    masks: Masks = {}
    for _ in range(n_defects):
        if outline is not None and rng.random() < 0.2:
            outline = shapes.bite(rng, outline)
            continue
        kind = int(rng.integers(len(DEFECTS)))
        changed, mask = DEFECTS[kind](rng, field)
        visible = (np.abs(changed - field) > _VISIBLE) & (mask > 0.2)
        if outline is not None:
            visible &= outline < 0
        if visible.sum() >= _FEWEST_PX:
            field = changed.astype(np.float32)
            masks[kind] = masks.get(kind, False) | visible
    return field, outline, masks


def _coloured(rng: np.random.Generator, field: np.ndarray, gray: bool) -> np.ndarray:
    """Colour a brightness field (size, size) along a random path of 2 to 4 colours: float32 (size, size, 3)."""
    if gray:
        return np.repeat(field[..., None], 3, axis=-1)
    stops = np.linspace(0, 1, int(rng.integers(2, 5)))
    shades = np.linspace(0, 1, _LEVELS)
    hues = rng.normal(0, rng.uniform(0.03, 0.25), (3, len(stops)))
    table = np.stack([shades + np.interp(shades, stops, hue) for hue in hues], -1).astype(np.float32)
    return table[np.clip(field * (_LEVELS - 1), 0, _LEVELS - 1).astype(np.int32)]


def _dyed(rng: np.random.Generator, rgb: np.ndarray, masks: Masks) -> np.ndarray:
    """Give some defects a colour of their own: rust, burns, dye."""
    for mask in masks.values():
        if rng.random() < 0.4:
            rgb = rgb + mask[..., None] * rng.normal(0, 0.12, 3).astype(np.float32)
    return rgb


def _mount(
    rng: np.random.Generator, rgb: np.ndarray, whole: np.ndarray, broken: np.ndarray, gray: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Set a part on a background, with bevelled edges, relief and a shadow.

    Args:
        rgb: what the part is made of, (size, size, 3).
        whole, broken: signed distance to its outline, before and after damage.

    Returns:
        The picture, and the mask of the broken edge.
    """
    size = len(whole)
    softness = rng.uniform(0.8, 2.0) / size * 4
    inside = np.clip(0.5 - broken / softness, 0, 1)
    edge = np.abs(inside - np.clip(0.5 - whole / softness, 0, 1)) > 0.4
    ground_texture = TEXTURES[int(rng.integers(len(TEXTURES)))] if rng.random() < 0.3 else _ground
    ground = rng.uniform(0.02, 0.98) + rng.uniform(0.0, 0.08) * ground_texture(rng, size)
    angle = rng.uniform(0, 2 * math.pi)
    shift = (int(3 * math.sin(angle)), int(3 * math.cos(angle)))
    shadow = ndimage.uniform_filter(np.roll(inside, shift, (0, 1)), 5) * rng.uniform(0, 0.35)
    height = np.clip(-broken / rng.uniform(0.02, 0.15), 0, 1)
    if rng.random() < 0.5:
        height = height + rng.uniform(0, 0.6) * shapes.relief(rng, size)
    slope_y, slope_x = np.gradient(height)
    shade = turned(slope_y, slope_x, angle)[0] * rng.uniform(0, 1.2)
    below = _coloured(rng, ground * (1 - shadow), gray)
    return below + inside[..., None] * (rgb + shade[..., None] - below), edge


def _ground(rng: np.random.Generator, size: int) -> np.ndarray:
    """A background without a pattern."""
    return noise(rng, size, rng.uniform(0.5, 2.5))


def _photograph(rng: np.random.Generator, rgb: np.ndarray, gray: bool) -> np.ndarray:
    """Light the scene, blur it as a lens does, expose it, add noise, sometimes as a JPEG: uint8 (size, size, 3)."""
    channels = rgb[..., :1] if gray else rgb  # gray is one channel until the end
    exposed = channels * (_light(rng, len(rgb)) * rng.uniform(0.7, 1.25))[..., None]
    sharp = _response(rng, _blurred(rng, exposed))
    grain = rng.standard_normal(sharp.shape, dtype=np.float32)
    noisy = sharp + grain * (rng.uniform(0.0, 0.035) * rng.random()) * np.sqrt(np.maximum(sharp, 0.05))
    image = np.clip(noisy * 255 + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        image = _as_jpeg(image, int(rng.integers(40, 95)))
    return np.repeat(image, 3, -1) if gray else image


def _light(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return the light on each pixel: fading across, darker corners, uneven, or with a glare."""
    rows, columns = coordinates(size)
    light = 1 + rng.uniform(0, 0.35) * turned(rows, columns, rng.uniform(0, 2 * math.pi))[0]
    if rng.random() < 0.3:
        light = light - rng.uniform(0, 0.35) * (rows * rows + columns * columns)
    if rng.random() < 0.3:
        light = light + rng.uniform(0, 0.15) * noise(rng, size, 2.75)
    if rng.random() < 0.15:
        y, x, width = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.1, 0.6)
        light = light + rng.uniform(0, 0.6) * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / width**2)
    return light


def _blurred(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Blur as a lens out of focus, or as a part that moves; a third of the images stay sharp."""
    style = rng.random()
    if style < 0.55:
        blur = rng.uniform(0.3, 1.2)
        return ndimage.gaussian_filter(image, (blur, blur, 0), truncate=2.5)
    if style < 0.65:
        return ndimage.uniform_filter1d(image, int(rng.integers(2, 5)), axis=int(rng.integers(2)))
    return image


def _response(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Apply a camera's tone curve: brightness to a power between 0.6 and 1.5."""
    table = (np.linspace(0, 1, _LEVELS) ** rng.uniform(0.6, 1.5)).astype(np.float32)
    return table[np.clip(image * (_LEVELS - 1), 0, _LEVELS - 1).astype(np.int32)]


def _as_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = BytesIO()
    Image.fromarray(image if image.shape[-1] == 3 else image[..., 0]).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).reshape(image.shape)
