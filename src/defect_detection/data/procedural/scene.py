"""Scenes: a surface or a part, with or without defects, under light, through optics, onto a sensor."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from defect_detection.data.procedural import parts
from defect_detection.data.procedural.defects import DEFECTS, OUTLINE
from defect_detection.data.procedural.textures import TEXTURES, coordinates, spectral

N_BACKGROUNDS = 2 * len(TEXTURES)  # the texture alone, or a part made of it
_VISIBLE = 0.02  # of full scale: a change below this is no defect that anyone could see
_FEWEST_PX = 3
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
    kind, is_part, gray = (
        int(rng.integers(len(TEXTURES))),
        bool(rng.random() < 0.4),
        bool(rng.random() < 0.45),
    )
    contrast = 0.25 * rng.random() ** 1.5 + 0.01
    brightness = rng.uniform(0.25, 0.75)
    surface = brightness + contrast * TEXTURES[kind](rng, size)
    whole = parts.outline(rng, size) if is_part else None
    surface, broken, masks = _damaged(rng, surface, whole, n_defects)
    rgb = _tint(rng, surface, gray)
    if not gray:
        rgb = _dyed(rng, rgb, masks)
    if whole is not None and broken is not None:
        rgb, edge = _mount(rng, rgb, whole, broken, gray)
        if edge.sum() >= _FEWEST_PX:
            masks[OUTLINE] = edge
    return Scene(_photograph(rng, rgb, gray), kind + is_part * len(TEXTURES), masks)


def _damaged(
    rng: np.random.Generator, surface: np.ndarray, outline: np.ndarray | None, n_defects: int
) -> tuple[np.ndarray, np.ndarray | None, Masks]:
    """Return surface and outline after `n_defects` attempts, and where each defect of the surface shows."""
    masks: Masks = {}
    for _ in range(n_defects):
        if outline is not None and rng.random() < 0.2:
            outline = parts.bite(rng, outline)
            continue
        kind = int(rng.integers(len(DEFECTS)))
        changed, mask = DEFECTS[kind](rng, surface)
        visible = (np.abs(changed - surface) > _VISIBLE) & (mask > 0.2)
        if outline is not None:
            visible &= outline < 0
        if visible.sum() >= _FEWEST_PX:
            surface = changed.astype(np.float32)
            masks[kind] = masks.get(kind, False) | visible
    return surface, outline, masks


def _dyed(rng: np.random.Generator, rgb: np.ndarray, masks: Masks) -> np.ndarray:
    """Give some defects a colour of their own: rust, burns, dye."""
    for mask in masks.values():
        if rng.random() < 0.4:
            rgb = rgb + mask[..., None] * rng.normal(0, 0.12, 3)
    return rgb


def _tint(rng: np.random.Generator, gray: np.ndarray, neutral: bool) -> np.ndarray:
    """Colour a brightness field (size, size) along a random line through RGB: (size, size, 3)."""
    if neutral:
        return np.repeat(gray[..., None], 3, axis=-1)
    dark, light = rng.normal(0, 0.12, 3), rng.normal(0, 0.12, 3)
    weight = gray[..., None]
    return weight + dark * (1 - weight) + light * weight


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
    softness = rng.uniform(0.8, 2.0) / size
    inside, was_inside = (1 / (1 + np.exp(np.clip(each / softness, -30, 30))) for each in (broken, whole))
    ground_texture = TEXTURES[int(rng.integers(len(TEXTURES)))] if rng.random() < 0.5 else TEXTURES[0]
    ground = rng.uniform(0.02, 0.98) + rng.uniform(0.0, 0.06) * ground_texture(rng, size)
    bevel = rng.uniform(0.02, 0.15)
    height = np.clip(-broken / bevel, 0, 1) + rng.uniform(0, 0.6) * parts.relief(rng, size)
    angle = rng.uniform(0, 2 * np.pi)
    shade = _slope(height, angle) * rng.uniform(0, 1.2)
    shift = (int(3 * np.sin(angle)), int(3 * np.cos(angle)))
    shadow = ndimage.gaussian_filter(np.roll(inside, shift, (0, 1)), 2.0) * rng.uniform(0, 0.3)
    alpha = inside[..., None]
    below = _tint(rng, ground - shadow * ground, gray)
    return rgb * alpha + shade[..., None] * alpha + below * (1 - alpha), np.abs(inside - was_inside) > 0.4


def _slope(height: np.ndarray, angle: float) -> np.ndarray:
    slope_y, slope_x = np.gradient(height)
    return slope_y * np.sin(angle) + slope_x * np.cos(angle)


def _photograph(rng: np.random.Generator, rgb: np.ndarray, gray: bool) -> np.ndarray:
    """Light the scene, blur it as a lens does, expose it, add noise: uint8 (size, size, 3)."""
    size = len(rgb)
    rows, columns = coordinates(size)
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.35)
    light = 1 + slope * (rows * np.sin(angle) + columns * np.cos(angle))
    if rng.random() < 0.3:
        light = light - rng.uniform(0, 0.35) * (rows**2 + columns**2)
    if rng.random() < 0.25:
        light = light + rng.uniform(0, 0.12) * spectral(rng, size, 2.8)
    rgb = rgb * (light * rng.uniform(0.9, 1.1))[..., None]
    rgb = np.clip(rgb, 0, None) ** rng.uniform(0.7, 1.4) * rng.uniform(0.75, 1.2)
    blur = rng.uniform(0, 1.1) if rng.random() < 0.7 else 0.0
    if blur > 0.3:
        rgb = ndimage.gaussian_filter(rgb, (blur, blur, 0))
    noise = rng.standard_normal((size, size, 1 if gray else 3), dtype=np.float32)
    rgb = rgb + noise * rng.uniform(0.0, 0.03) * np.sqrt(np.clip(rgb, 0.05, 1))
    return np.round(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
