"""Check whether an image resembles the training images; a black frame or another product does not.

A guard for the line, not a detector of novelty: a few figures of the image as the model sees it, and the size of its file,
each against the range of the training images.
"""

from collections.abc import Mapping
from itertools import accumulate, repeat
from typing import NamedTuple

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict

GRID = 8  # cells of the layout, a side
LOOK = np.dtype(
    [
        ("brightness", "<f4"),  # mean gray level, 0 to 255
        ("contrast", "<f4"),  # standard deviation of the gray levels, each the mean of 4 px in a row
        ("sharpness", "<f4"),  # root mean square of the Laplacian, in gray levels
        ("colour", "<f4"),  # largest minus least channel, mean over the layout
        ("fine detail", "<f4"),  # sharpness / (contrast + 1)
        ("coarse detail", "<f4"),  # the same, of the means of 4 px in a row in every fourth row
        ("layout", "u1", (GRID, GRID, 3)),  # mean colour of each cell
    ]
)
# For each figure: the offset before the logarithm, and the smallest margin as a factor.
_FIGURES: Mapping[str, tuple[float, float]] = {
    "brightness": (1.0, 1.15),
    "contrast": (1.0, 1.15),
    "sharpness": (1.0, 1.15),
    "colour": (1.0, 1.35),
    "fine detail": (0.01, 1.15),
    "coarse detail": (0.01, 1.15),
    "image size (px)": (0.0, 2.0),  # root of width * height
    "width / height": (0.0, 1.15),
    "layout": (1.0, 1.2),  # root mean square distance from the mean layout, in its spreads
}
_TRIPPED = 0.002  # share of ordinary images that may lie outside, aimed at
_HELD_OUT = 0.005  # share of held-out images that may lie outside, and one image more
_LEAST = 0.5  # standard deviations
_UNSURE = 8.0  # images: of so many, the standard deviation itself counts twice, since it is a guess
_SCALES = tuple(accumulate(repeat(1.25, 6), lambda scale, step: scale * step, initial=1.0))
_LEAST_SPREAD = 4.0  # gray levels, of a cell


class Camera(NamedTuple):
    """What light, lens and camera did to an image: float, or float arrays of shape (n_images,).

    brightness, contrast, sharpness: in gray levels, as in `LOOK`. colour_balance: mean red / mean blue, 1 for gray.
    """

    brightness: float
    contrast: float
    sharpness: float
    colour_balance: float


class Reference(BaseModel):
    """The ranges of the training images, margins included.

    images: how many there were. ranges: by figure, the lowest and the highest that is ordinary. layout_mean, layout_spread:
    of each cell and channel, in gray levels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int
    ranges: dict[str, tuple[float, float]]
    layout_mean: tuple[float, ...]
    layout_spread: tuple[float, ...]

    def reason(self, look: np.ndarray, size: tuple[int, int] | None) -> str | None:
        """Describe the values outside the ranges; None if there are none.

        Args:
            look: of one image, see `look_of`.
            size: (width, height) of its file, upright; None where there is no file.
        """
        mean, spread = (np.array(one, np.float32) for one in (self.layout_mean, self.layout_spread))
        values = {name: float(look[name]) for name in LOOK.names or () if name != "layout"}
        values["layout"] = float(_distance(look["layout"].reshape(-1), mean, spread))
        if size:
            values |= {"image size (px)": (size[0] * size[1]) ** 0.5, "width / height": size[0] / size[1]}
        outside = [
            name for name, (low, high) in self.ranges.items() if not low <= values.get(name, low) <= high
        ]
        if not outside:
            return None
        low, high = self.ranges[outside[0]]
        also = f" (also outside: {', '.join(outside[1:])})" if outside[1:] else ""
        value = _brief(values[outside[0]])
        return f"{outside[0]} {value} is outside {_brief(low)} to {_brief(high)}, the range of the training images{also}"


def look_of(pixels: np.ndarray) -> np.ndarray:
    """Return the figures of an image, one record of type `LOOK`.

    Args:
        pixels: uint8 array of shape (size, size, 3), RGB, as the model sees it.
    """
    small = Image.fromarray(pixels[::4]).reduce((4, 1))
    gray = np.asarray(small.convert("L"))
    layout = np.asarray(small.resize((GRID, GRID), Image.Resampling.BOX))
    contrast = float(gray.std())
    sharpness = _roughness(pixels[..., 1], 4)
    colour = float((layout.max(axis=2) - layout.min(axis=2)).mean())
    row = (
        float(gray.mean()),
        contrast,
        sharpness,
        colour,
        sharpness / (contrast + 1),
        _roughness(gray, 1) / (contrast + 1),
        layout,
    )
    return np.array(row, LOOK)


def camera_of(look: np.ndarray) -> Camera:
    """Return the camera's figures of one image, or of several; see `look_of`. The layout holds the colours already."""
    red, blue = (look["layout"][..., channel].mean(axis=(-2, -1)) for channel in (0, 2))
    values = (*(look[name] for name in Camera._fields[:-1]), (red + 1) / (blue + 1))
    return Camera(*(value.astype(float) for value in values)) if look.ndim else Camera(*map(float, values))


def _roughness(gray: np.ndarray, step: int) -> float:
    """Return the root mean square of the Laplacian, of every `step`th row."""
    above, rows, below = (gray[start : start + len(gray) - 2 : step].astype(np.int16) for start in (0, 1, 2))
    laplacian = above[:, 1:-1] + below[:, 1:-1] + rows[:, :-2] + rows[:, 2:] - 4 * rows[:, 1:-1]
    values = laplacian.astype(np.float32).ravel()
    return float(np.sqrt(np.dot(values, values) / max(len(values), 1)))


def learn_reference(looks: np.ndarray, sizes: np.ndarray, fold: np.ndarray) -> Reference:
    """Return the ranges of the training images, with margins.

    An ordinary image lies outside the range of n others once in n / 2 times, so the margin grows where there are few. It is a
    number of standard deviations of the figure's logarithm: at a tail that falls exponentially, `_TRIPPED` of the ordinary
    images lie outside any range. Where held-out images show that this is too little, all margins grow.

    Args:
        looks: of type `LOOK`, (n_images,).
        sizes: (width, height) of each file, (n_images, 2).
        fold: the fold that holds each image out, int (n_images,); -1: none.
    """
    figures = _logs(looks, sizes)
    layouts = looks["layout"].reshape(len(looks), -1).astype(np.float32)
    allowed = 1 + _HELD_OUT * (fold >= 0).sum()
    for scale in _SCALES:
        if _held_out_outside(figures, layouts, fold, scale) <= allowed:
            break
    low, high, mean, spread = _ranges(figures, layouts, scale)
    added = np.array([plus for plus, _ in _FIGURES.values()])
    ends = np.maximum(np.exp([low, high]) - added, 0)  # (2, n_figures)
    return Reference(
        images=len(looks),
        ranges={name: (float(a), float(b)) for name, a, b in zip(_FIGURES, *ends, strict=True)},
        layout_mean=tuple(mean.round(1).tolist()),
        layout_spread=tuple(spread.round(1).tolist()),
    )


def _logs(looks: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the logarithm of each figure but the layout's, (n_images, n_figures - 1)."""
    width, height = sizes.astype(float).T
    values = [looks[name] for name in LOOK.names or () if name != "layout"]
    values += [np.sqrt(width * height), width / height]
    added = [plus for plus, _ in _FIGURES.values()][:-1]
    return np.log(np.stack(values, axis=1).astype(float) + added)


def _with_layout(
    figures: np.ndarray, layouts: np.ndarray, mean: np.ndarray, spread: np.ndarray
) -> np.ndarray:
    distance = _distance(layouts, mean, spread)
    return np.column_stack([figures, np.log(distance + _FIGURES["layout"][0])])


def _distance(layouts: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt((((layouts - mean) / spread) ** 2).mean(axis=-1)))


def _ranges(figures: np.ndarray, layouts: np.ndarray, scale: float) -> tuple[np.ndarray, ...]:
    """Return the ends of each figure's range, as logarithms, and the mean and spread of the layout."""
    mean, spread = layouts.mean(axis=0), np.sqrt(layouts.var(axis=0) + _LEAST_SPREAD**2)
    logs = _with_layout(figures, layouts, mean, spread)
    count = len(logs)
    deviations = max(_LEAST, np.log(len(_FIGURES) / (_TRIPPED * (count + 1)))) * (1 + _UNSURE / count)
    least = np.log([factor for _, factor in _FIGURES.values()])
    margin = scale * np.maximum(deviations * logs.std(axis=0), least)
    low, high = logs.min(axis=0) - margin, logs.max(axis=0) + margin
    low[-1] = -np.inf  # no lower limit: no image is too close to the mean layout
    return low, high, mean, spread


def _held_out_outside(figures: np.ndarray, layouts: np.ndarray, fold: np.ndarray, scale: float) -> int:
    """Count held-out images outside the ranges of the other images."""
    count = 0
    for number in set(fold[fold >= 0].tolist()):
        out = fold == number
        low, high, mean, spread = _ranges(figures[~out], layouts[~out], scale)
        logs = _with_layout(figures[out], layouts[out], mean, spread)
        count += int(((logs < low) | (logs > high)).any(axis=1).sum())
    return count


def _brief(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == 0 else f"{value:.2g}"
