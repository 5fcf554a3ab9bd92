"""Draw docs/images/generator.png: of every line of the sample data OK parts, flawed ones, and their masks."""

import sys
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from PIL import Image

from defect_detection.synthetic.lines import LINES, Line
from defect_detection.synthetic.sample_data import DrawnPicture, Shot, take

TILE_PX = 112
N_OK, N_FLAWED = 2, 3
COLOURS = 128  # keeps the file small


def main(output: Path, seed: int) -> None:
    sheet = Image.fromarray(np.concatenate([row(line, seed) for line in LINES]))
    sheet.quantize(COLOURS, dither=Image.Dither.NONE).save(output, optimize=True)


def row(line: Line, seed: int) -> np.ndarray:
    """Return one line's tiles side by side, uint8 (height, width, 3)."""
    flaws = [*[""] * N_OK, *islice(cycle(line.flaws), N_FLAWED)]
    pictures = [take(Shot("train", line, part, flaw, 1, seed), 192) for part, flaw in enumerate(flaws)]
    return np.concatenate(
        [tile(picture.image) for picture in pictures] + [marked(p) for p in pictures[N_OK:]], 1
    )


def tile(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS))


def marked(picture: DrawnPicture) -> np.ndarray:
    """Return the image in gray with its flaw in red."""
    assert picture.mask is not None
    pale = np.repeat(picture.image.mean(-1, keepdims=True) * 0.5 + 110, 3, -1)
    pale[picture.mask] = (214, 40, 57)
    return tile(pale.astype(np.uint8))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/generator.png"), seed=4)
