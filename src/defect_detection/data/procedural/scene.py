"""Scenes: a surface or a part on a background, with or without defects, under light, through optics, onto a sensor."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from defect_detection.data.procedural import parts
from defect_detection.data.procedural.defects import DEFECTS, OUTLINE
from defect_detection.data.procedural.textures import TEXTURES, coordinates, spectral

N_BACKGROUNDS = 2 * len(TEXTURES)  # the texture alone, or a part made of it
_VISIBLE = 0.02  # of full scale: a change below this is no defect that anyone could see


@dataclass(frozen=True)
class Material:
    """What a line keeps constant: which texture, how strong, which colour, how lit. `None` draws each anew."""

    texture: int
    is_part: bool
    gray: bool


@dataclass(frozen=True)
class Scene:
    """One drawn image.

    image: uint8 array of shape (size, size, 3), RGB.
    background: index below `N_BACKGROUNDS`.
    masks: {defect type index: bool array of shape (size, size)}; empty for an OK image.
    """

    image: np.ndarray
    background: int
    masks: dict[int, np.ndarray]


def draw(
    rng: np.random.Generator,
    size: int,
    n_defects: int,
    *,
    material: Material | None = None,
    style: np.random.Generator | None = None,
) -> Scene:
    """Draw one scene with `n_defects` attempts at a defect (one that would be invisible is left out).

    `style` draws what a production line keeps from part to part (outline, colour, light); pass a generator with the same
    seed for every image of one line. By default everything is drawn from `rng`.
    """
    style = rng if style is None else style
    material = material or Material(
        int(rng.integers(len(TEXTURES))), bool(rng.random() < 0.4), bool(rng.random() < 0.45)
    )
    masks: dict[int, np.ndarray] = {}

    texture_seed = int(style.integers(2**63)) if style is not rng else None
    line = np.random.default_rng(texture_seed) if texture_seed is not None else rng
    contrast = 0.25 * line.random() ** 1.5 + 0.01
    brightness = line.uniform(0.25, 0.75)
    texture = TEXTURES[material.texture](rng, size)
    surface = brightness + contrast * texture

    distance = parts.outline(line, size) if material.is_part else None
    broken = distance
    for _ in range(n_defects):
        if distance is not None and rng.random() < 0.2:
            broken = parts.bite(rng, broken)
            continue
        kind = int(rng.integers(len(DEFECTS)))
        changed, mask = DEFECTS[kind](rng, surface, texture)
        visible = (np.abs(changed - surface) > _VISIBLE) & (mask > 0.2)
        if distance is not None:
            visible &= broken < 0
        if visible.sum() >= 3:
            surface = changed.astype(np.float32)
            masks[kind] = masks.get(kind, False) | visible

    rgb = _tint(line, surface, material.gray)
    for mask in masks.values():
        if (
            not material.gray and rng.random() < 0.4
        ):  # rust, burns, dye: a defect may have a colour of its own
            rgb = rgb + mask[..., None] * rng.normal(0, 0.12, 3)
    if distance is not None and broken is not None:
        rgb, edge = _mount(rng, line, rgb, distance, broken, material.gray)
        if edge.sum() >= 3:
            masks[OUTLINE] = edge
    background = material.texture + (len(TEXTURES) if material.is_part else 0)
    return Scene(_photograph(rng, line, rgb, material.gray), background, masks)


def _tint(rng: np.random.Generator, gray: np.ndarray, neutral: bool) -> np.ndarray:
    """Colour a brightness field (size, size) along a random line through RGB: (size, size, 3)."""
    if neutral:
        return np.repeat(gray[..., None], 3, axis=-1)
    dark, light = rng.normal(0, 0.12, 3), rng.normal(0, 0.12, 3)
    weight = gray[..., None]
    return weight + dark * (1 - weight) + light * weight


def _mount(
    rng: np.random.Generator,
    line: np.random.Generator,
    rgb: np.ndarray,
    distance: np.ndarray,
    broken: np.ndarray,
    gray: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Set a part on a background, with bevelled edges, relief and a shadow; return the picture and the broken edge's mask."""
    size = len(distance)
    softness = line.uniform(0.8, 2.0) / size
    inside = 1 / (1 + np.exp(np.clip(broken / softness, -30, 30)))
    whole = 1 / (1 + np.exp(np.clip(distance / softness, -30, 30)))
    ground_texture = TEXTURES[int(line.integers(len(TEXTURES)))] if line.random() < 0.5 else TEXTURES[0]
    ground = line.uniform(0.02, 0.98) + line.uniform(0.0, 0.06) * ground_texture(rng, size)
    bevel = line.uniform(0.02, 0.15)
    height = np.clip(-broken / bevel, 0, 1) + line.uniform(0, 0.6) * parts.relief(line, size)
    slope_y, slope_x = np.gradient(height)
    angle = line.uniform(0, 2 * np.pi)
    shade = (slope_y * np.sin(angle) + slope_x * np.cos(angle)) * line.uniform(0, 1.2)
    shift = (int(3 * np.sin(angle)), int(3 * np.cos(angle)))
    shadow = ndimage.gaussian_filter(np.roll(inside, shift, (0, 1)), 2.0) * line.uniform(0, 0.3)
    alpha = inside[..., None]
    below = _tint(line, ground - shadow * ground, gray)
    return rgb * alpha + shade[..., None] * alpha + below * (1 - alpha), np.abs(inside - whole) > 0.4


def _photograph(
    rng: np.random.Generator, line: np.random.Generator, rgb: np.ndarray, gray: bool
) -> np.ndarray:
    """Light the scene, blur it as a lens does, expose it and add the sensor's noise: uint8 (size, size, 3)."""
    size = len(rgb)
    rows, columns = coordinates(size)
    angle, slope = line.uniform(0, 2 * np.pi), line.uniform(0, 0.35)
    light = 1 + slope * (rows * np.sin(angle) + columns * np.cos(angle))
    if line.random() < 0.3:
        light = light - line.uniform(0, 0.35) * (rows**2 + columns**2)
    if line.random() < 0.25:
        light = light + rng.uniform(0, 0.12) * spectral(rng, size, 2.8)
    rgb = rgb * (light * rng.uniform(0.9, 1.1))[..., None]
    rgb = np.clip(rgb, 0, None) ** line.uniform(0.7, 1.4) * line.uniform(0.75, 1.2)
    blur = line.uniform(0, 1.1) if line.random() < 0.7 else 0.0
    if blur > 0.3:
        rgb = ndimage.gaussian_filter(rgb, (blur, blur, 0))
    noise = rng.standard_normal((size, size, 1 if gray else 3), dtype=np.float32)
    rgb = rgb + noise * line.uniform(0.0, 0.03) * np.sqrt(np.clip(rgb, 0.05, 1))
    return np.round(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
