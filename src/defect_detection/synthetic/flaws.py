"""Flaws of parts on a production line: each changes the shape or colour of the part, not the picture.

Every function takes ``(rng, part, severity)``, severity in (0, 1], and returns the flawed part.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import ndimage

from defect_detection.synthetic.camera import PlacedPart, tinted
from defect_detection.synthetic.defects import blob, stroke, walk
from defect_detection.synthetic.fields import coordinates, spectral

Flaw = Callable[[np.random.Generator, PlacedPart, float], PlacedPart]


def _coloured(part: PlacedPart, mask: np.ndarray, *colour: float) -> np.ndarray:
    """Return the albedo, blended into a colour where the mask is 1."""
    return part.albedo + mask[..., None] * (np.asarray(colour, np.float32) - part.albedo)


def _brightness(part: PlacedPart) -> float:
    return float(part.albedo[part.distance < 0].mean())


def scratch(rng: np.random.Generator, part: PlacedPart, severity: float) -> PlacedPart:
    """A groove that shows bright or dark metal (or whitened plastic)."""
    size = len(part.height)
    points = walk(rng, size, size * (0.02 + 0.03 * severity), rng.uniform(0, 0.1), 12)
    groove = stroke(size, points, rng.uniform(0.8, 1.2) * (0.8 + 2.2 * severity))
    colour = _brightness(part) * (rng.uniform(2.2, 3.0) if rng.random() < 0.6 else rng.uniform(0.1, 0.3))
    albedo = _coloured(part, groove * severity, colour)
    return replace(part, albedo=albedo, height=part.height - 2.0 * severity * groove)


def dent(rng: np.random.Generator, part: PlacedPart, severity: float) -> PlacedPart:
    """A blow has pushed the surface in; only the light shows it."""
    size = len(part.height)
    hollow = ndimage.gaussian_filter(
        blob(rng, size, 0.07 + 0.05 * severity, 0.12 + 0.12 * severity), size * rng.uniform(0.012, 0.02)
    )
    height = part.height - (2 + 10 * severity) * hollow
    if part.brushing is None:
        return replace(part, height=height)
    slope_y, slope_x = np.gradient(hollow)  # brush marks bend with the surface
    bend = np.hypot(slope_y, slope_x) * 3 * severity
    return replace(
        part,
        height=height,
        brushing=part.brushing + bend,
        albedo=part.albedo * (1 - 0.25 * hollow[..., None]),
    )


def chip(rng: np.random.Generator, part: PlacedPart, severity: float) -> PlacedPart:
    """A piece has broken off the edge."""
    size = len(part.height)
    edge = np.argwhere(np.abs(part.distance) < 2 / size)
    centre_y, centre_x = (edge[rng.integers(len(edge))] / (size - 1) * 2 - 1).tolist()
    rows, columns = coordinates(size)
    radius = (0.05 + 0.13 * severity) * rng.uniform(0.8, 1.2)
    aspect = rng.uniform(0.6, 1.6)
    rough = spectral(rng, size, 1.2) * radius * 0.2
    piece = np.hypot((rows - centre_y) * aspect, (columns - centre_x) / aspect) - radius + rough
    return replace(part, distance=np.maximum(part.distance, -piece))


def stain(rng: np.random.Generator, part: PlacedPart, severity: float) -> PlacedPart:
    """Rust on metal, oil on cloth."""
    size = len(part.height)
    mask = ndimage.gaussian_filter(
        blob(rng, size, 0.13 + 0.10 * severity, 0.18 + 0.27 * severity), rng.uniform(0.6, 1.6)
    )
    mask = np.clip(mask * (1 + 0.3 * spectral(rng, size, 1.4)), 0, 1) * (0.3 + 0.7 * severity)
    if part.brushing is None:
        return replace(part, albedo=part.albedo * (1 - tinted(mask, (0.55, 0.65, 0.8))))
    albedo = _coloured(part, 0.9 * mask, 0.15, 0.055, 0.02)
    return replace(part, albedo=albedo, gloss=part.gloss * (1 - 0.8 * mask))


def pit(rng: np.random.Generator, part: PlacedPart, severity: float) -> PlacedPart:
    """Blowholes: gas has left holes in the casting's skin."""
    size = len(part.height)
    holes = blob(rng, size, 0.03 + 0.05 * severity, 0.05 + 0.08 * severity)
    for _ in range(rng.integers(2, 7)):
        near = np.roll(blob(rng, size, 0.03, 0.04 + 0.06 * severity), rng.integers(-9, 10, 2), (0, 1))
        holes = np.maximum(holes, near)
    return replace(
        part,
        height=part.height - 4 * severity * holes,
        albedo=_coloured(part, (0.4 + 0.6 * severity) * holes, 0.02),
    )


def crack(rng: np.random.Generator, part: PlacedPart, severity: float) -> PlacedPart:
    """A dark jagged line."""
    size = len(part.height)
    steps = round(rng.uniform(0.8, 1.2) * (10 + 24 * severity))
    points = walk(rng, size, size * rng.uniform(0.015, 0.03), rng.uniform(0.3, 0.7), steps)
    gap = stroke(size, points, rng.uniform(0.8, 1.2) * (1.0 + 2.2 * severity))
    return replace(
        part, height=part.height - 2.0 * gap, albedo=_coloured(part, (0.4 + 0.6 * severity) * gap, 0.01)
    )


def contamination(rng: np.random.Generator, part: PlacedPart, severity: float) -> PlacedPart:
    """A fibre, or dark particles, lie on the part or in it."""
    size = len(part.height)
    if rng.random() < 0.5:
        bent = walk(rng, size, size * 0.03, 0.35, round(8 + 14 * severity))
        mask = stroke(size, bent, rng.uniform(0.8, 1.2) * (0.9 + 1.8 * severity))
    else:
        mask = np.max(
            [
                blob(rng, size, 0.02 + 0.03 * severity, 0.04 + 0.07 * severity)
                for _ in range(rng.integers(1, 5))
            ],
            0,
        )
    colour = (0.02, 0.02, 0.02) if rng.random() < 0.7 else (0.75, 0.72, 0.65)
    albedo = _coloured(part, mask * (0.4 + 0.6 * severity), *colour)
    return replace(part, albedo=albedo, height=part.height + mask)


def missing_thread(rng: np.random.Generator, part: PlacedPart, severity: float) -> PlacedPart:
    """A weft or warp thread is missing over some length, or twice as thick."""
    across, along = (part.y, part.x) if rng.random() < 0.7 else (part.x, part.y)
    centre = rng.uniform(across.min() * 0.8, across.max() * 0.8)
    reach = np.abs(along - rng.uniform(-0.6, 0.6)) - 0.15 - severity * rng.uniform(0.5, 1.5)
    width = 0.02 + 0.035 * severity
    mask = np.clip((width - np.abs(across - centre)) * 60, 0, 1) * np.clip(-reach * 30, 0, 1)
    if rng.random() < 0.65:
        gap = _coloured(part, mask * (0.35 + 0.5 * severity), 0.03)
        return replace(part, albedo=gap, height=part.height * (1 - 0.8 * mask))
    thick = _coloured(part, mask * (0.3 + 0.4 * severity), 0.55)
    return replace(part, albedo=thick, height=part.height + mask)


FLAWS: dict[str, Flaw] = {
    flaw.__name__: flaw for flaw in (scratch, dent, chip, stain, pit, crack, contamination, missing_thread)
}
