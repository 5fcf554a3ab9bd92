"""Draw docs/images/scenes.png: scenes for pre-training without a defect, then with defects, and below these their masks."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from defect_detection.synthetic.scene import Scene, draw

TILE_PX, COLUMNS = 96, 10
COLOURS = 96  # keeps the file small


def main(output: Path, seed: int) -> None:
    rows = [row(scenes(seed, number, 0)) for number in range(2)]
    for number in range(2, 4):
        damaged = scenes(seed, number, 2)
        rows += [row(damaged), np.concatenate([marked(scene) for scene in damaged], axis=1)]
    sheet = Image.fromarray(np.concatenate(rows))
    sheet.quantize(COLOURS, dither=Image.Dither.NONE).save(output, optimize=True)


def scenes(seed: int, number: int, n_defects: int) -> list[Scene]:
    return [
        draw(np.random.default_rng([seed, number, column]), TILE_PX, n_defects) for column in range(COLUMNS)
    ]


def row(some: list[Scene]) -> np.ndarray:
    return np.concatenate([scene.image for scene in some], axis=1)


def marked(scene: Scene) -> np.ndarray:
    """Return the image pale and in gray, with its defects in red."""
    pale = np.repeat(scene.image.mean(-1, keepdims=True) * 0.4 + 130, 3, -1)
    for mask in scene.masks.values():
        pale[mask] = (214, 40, 57)
    return pale.astype(np.uint8)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/scenes.png"), seed=7)
