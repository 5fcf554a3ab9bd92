"""Products: 32 images of one thing, half of them defective, varied as the images of a production line are.

What varies within a product, and what doesn't, is drawn for each: one surface or several, of one material or of many; light, colours
and position that stay or change; one to three kinds of defect, and up to two kinds of mark that look like a defect and are none.
"""

from dataclasses import dataclass

import numpy as np

from defect_detection.data.procedural import parts
from defect_detection.data.procedural.cells import cell_bits
from defect_detection.data.procedural.defects import DEFECTS
from defect_detection.data.procedural.scene import (
    BITTEN,
    Masks,
    coloured,
    dyed,
    is_a_part,
    is_gray,
    mounted,
    outline,
    photographed,
    tone,
    with_defect,
)
from defect_detection.data.procedural.textures import Material

N_IMAGES = 32
_ROOM_PX = 48  # that surfaces are larger than the images that are cut from them
_SHIFT_PX = 6  # by which parts lie out of place, at most
_TRIES = 4  # at a defect that can be seen


@dataclass(frozen=True)
class Product:
    """Images of one product; every other one is defective (but for a few whose defects nobody could see).

    images: uint8 array of shape (32, size, size, 3), RGB.
    cells: uint16 array of shape (32, size / 8, size / 8); bit k is set where a mark of type k touches the cell, harmless or not.
    defective: bool array of shape (32, size / 8, size / 8): cells with what makes the image defective.
    """

    images: np.ndarray
    cells: np.ndarray
    defective: np.ndarray


@dataclass(frozen=True)
class _Design:
    """What all images of a product have in common. A generator of random numbers belongs to each matter, by its number."""

    seed: int
    size: int
    gray: bool
    surfaces: list[np.ndarray]
    tone: tuple[float, float]
    tone_varies: tuple[
        float, float
    ]  # standard deviations: of the brightness, of the logarithm of the contrast
    outline: np.ndarray | None
    defects: np.ndarray  # indices of their kinds
    harmless: np.ndarray
    harmless_share: float  # of the images with harmless marks
    one_light: bool
    lies_any_way: bool
    one_colour: bool

    def random(self, matter: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, matter])


def draw_product(seed: int, size: int) -> Product:
    """Draw a product. The same for the same seed and size.

    Args:
        size: height = width in pixels, a multiple of 8.
    """
    design = _design(seed, size)
    images, cells, defective = zip(
        *(_image(design, number, bool(number % 2)) for number in range(N_IMAGES)), strict=True
    )
    return Product(np.stack(images), np.stack(cells), np.stack(defective))


def _design(seed: int, size: int) -> _Design:
    rng = np.random.default_rng([seed, 0])
    large, n_surfaces = size + _ROOM_PX, int(rng.choice([1, 2, 4, 6]))
    materials = [Material.draw(rng)] * n_surfaces
    if rng.random() < 0.4:
        materials = [Material.draw(rng) for _ in range(min(n_surfaces, 4))]
    kinds, n_defects, n_harmless = rng.permutation(len(DEFECTS)), rng.integers(1, 4), rng.integers(3)
    return _Design(
        seed=seed,
        size=size,
        gray=is_gray(rng),
        surfaces=[material.surface(rng, large) for material in materials],
        tone=tone(rng),
        tone_varies=(rng.uniform(0, 0.06), rng.uniform(0.05, 0.4)),
        outline=outline(rng, large) if is_a_part(rng) else None,
        defects=kinds[:n_defects],
        harmless=kinds[n_defects : n_defects + n_harmless],
        harmless_share=rng.uniform(0.1, 0.7),
        one_light=rng.random() < 0.5,
        lies_any_way=rng.random() < 0.5,
        one_colour=rng.random() < 0.7,
    )


def _image(design: _Design, number: int, is_defective: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return one image, the types of mark in its cells, and which cells are defective."""
    rng = design.random(100 + number)
    field, whole = _piece(rng, design)
    harmless, defects, broken = Masks(), Masks(), whole
    if len(design.harmless) and rng.random() < design.harmless_share:
        for _ in range(rng.integers(1, 3)):
            field = with_defect(rng, field, int(rng.choice(design.harmless)), broken, harmless)
    tries = 0
    while is_defective and tries < _TRIES and not defects:
        for _ in range(1 if tries else rng.integers(1, 3)):
            if broken is not None and rng.random() < BITTEN:
                broken = parts.bite(rng, broken)
            else:
                field = with_defect(rng, field, int(rng.choice(design.defects)), broken, defects)
        tries += 1
    rgb = coloured(design.random(1) if design.one_colour else rng, field, design.gray)
    rgb = dyed(design.random(2), rgb, harmless | defects, design.gray)
    if whole is not None and broken is not None:
        rgb = mounted(design.random(3), rgb, whole, broken, design.gray, defects)
    image = photographed(design.random(4) if design.one_light else rng, rgb, design.gray)
    bits = cell_bits(defects, design.size)
    return image, bits | cell_bits(harmless, design.size), bits > 0


def _piece(rng: np.random.Generator, design: _Design) -> tuple[np.ndarray, np.ndarray | None]:
    """Cut a piece from one of the surfaces; return it, and the part's outline a little out of place, both turned alike."""
    size, (brightness, contrast) = design.size, design.tone
    y, x = rng.integers(0, _ROOM_PX + 1, 2)
    turn = int(rng.integers(4)) if design.lies_any_way else 0
    piece = np.rot90(design.surfaces[rng.integers(len(design.surfaces))][y : y + size, x : x + size], turn)
    by_brightness, by_contrast = rng.normal(0, design.tone_varies)
    field = brightness + by_brightness + contrast * np.exp(by_contrast) * piece
    if design.outline is None:
        return field.astype(np.float32), None
    y, x = _ROOM_PX // 2 + rng.integers(-_SHIFT_PX, _SHIFT_PX + 1, 2)
    return field.astype(np.float32), np.rot90(design.outline[y : y + size, x : x + size], turn)
