"""Distil a stronger trunk into `compact` on drawn scenes (Romero et al. 2015, "FitNets").

Each map of the teacher is a task: a 1 × 1 convolution on some of the student's levels predicts it, and is thrown away afterwards.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from defect_detection.inference.runtime import Runtime
from defect_detection.model.backend import keras
from defect_detection.model.forms import to_openvino
from defect_detection.model.named_weights import LITE0
from defect_detection.model.trunks import Trunk, build_trunk


class Lesson(NamedTuple):
    """A feature map of the teacher: its channels, the levels of the student that predict it, and the ratio of their resolutions."""

    channels: int
    levels: tuple[str, ...]
    cells: int = 1


LESSONS = {
    "block_5_expand_relu": Lesson(240, ("level2_wide_relu", "level2")),
    "block_8_expand_relu": Lesson(480, ("level3_wide_relu", "level3")),
    "block_11_expand_relu": Lesson(672, ("level3_wide_relu", "level3")),
    "out_relu": Lesson(1280, ("level3",), cells=2),
}
_MOST = 4.0  # standard deviations that a target may lie from its channel's mean
_LEAST_DEVIATION = 1e-3
_CONTRAST, _BRIGHTNESS, _COLOUR = (0.7, 1.4), 25.0, 12.0
_INVERTED, _PASTED = 0.15, 0.5  # shares of the images


class Teacher:
    """EfficientNet-Lite0 in OpenVINO: ``teacher(images)`` returns its maps, each channel standardised and clipped."""

    def __init__(self, images: np.ndarray) -> None:
        """Build it for the size of `images`, uint8 (n, H, W, 3), RGB, on which mean and deviation of the channels are measured."""
        self._run = _runtime(build_trunk(LITE0, "package", images.shape[1]))
        maps = self._run(images)
        self._mean = {name: one.mean((0, 1, 2)) for name, one in maps.items()}
        self._deviation = {
            name: np.maximum(one.std((0, 1, 2)), _LEAST_DEVIATION) for name, one in maps.items()
        }

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return {name: self._standardised(name, one) for name, one in self._run(images).items()}

    def _standardised(self, name: str, one: np.ndarray) -> np.ndarray:
        return np.clip((one - self._mean[name]) / self._deviation[name], -_MOST, _MOST)


def _runtime(trunk: Trunk) -> Runtime:
    named = {
        name: keras.layers.Identity()(one) for name, one in zip(LESSONS, trunk.model.outputs, strict=True)
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "teacher.xml")
        to_openvino(keras.Model(trunk.model.inputs, named), path)
        runtime = Runtime(path)
        runtime.prepare()
    return runtime


def predictions(levels: dict[str, keras.KerasTensor]) -> dict[str, keras.KerasTensor]:
    """Return the student's predictions of the teacher's maps from its levels by name."""
    return {name: _prediction(levels, name, lesson) for name, lesson in LESSONS.items()}


def _prediction(levels: dict[str, keras.KerasTensor], name: str, lesson: Lesson) -> keras.KerasTensor:
    parts = [levels[level] for level in lesson.levels]
    x = keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    if lesson.cells > 1:
        x = keras.layers.AveragePooling2D(lesson.cells)(x)
    return keras.layers.Conv2D(lesson.channels, 1, name=name)(x)


def vary(rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
    """Turn, mirror, recolour and sometimes invert images (n, S, S, 3), and paste a rectangle of another into half of them."""
    n, side = images.shape[:2]
    turned = np.stack([np.rot90(image, int(rng.integers(4)))[:, :: rng.choice([-1, 1])] for image in images])
    for place in np.flatnonzero(rng.random(n) < _PASTED):
        height, width = rng.integers(side // 8, side * 3 // 4, 2)
        (y, x), other = (rng.integers(0, side - edge + 1) for edge in (height, width)), rng.integers(n)
        turned[place, y : y + height, x : x + width] = images[other, y : y + height, x : x + width]
    gain = rng.uniform(*_CONTRAST, (n, 1, 1, 1)) * np.where(rng.random((n, 1, 1, 1)) < _INVERTED, -1, 1)
    shift = rng.uniform(-_BRIGHTNESS, _BRIGHTNESS, (n, 1, 1, 1))
    shift = shift + rng.uniform(-_COLOUR, _COLOUR, (n, 1, 1, 3))
    varied = (turned - np.float32(127.5)) * gain.astype(np.float32) + (shift + 127.5).astype(np.float32)
    return np.clip(varied, 0, 255).astype(np.uint8)
