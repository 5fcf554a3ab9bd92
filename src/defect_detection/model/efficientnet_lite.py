"""EfficientNet-Lite0 with ImageNet weights from a Python package (extra `pretrained`).

The architecture is that of EfficientNet-B0 (Tan and Le 2019, table 1) without squeeze-and-excitation and with ReLU6.
"""

import pickle
from typing import NamedTuple

import numpy as np

from defect_detection.model.backend import keras
from defect_detection.model.named_weights import LITE0, altered, package_content
from defect_detection.model.torch_file import read_tensors

# The expanded activations in front of stride 16, of the 112-channel stage and of stride 32; and the last ones.
LITE0_LEVELS = ("block_5_expand_relu", "block_8_expand_relu", "block_11_expand_relu", "out_relu")

_EPSILON = 1e-3


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expansion: int
    filters: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
# What the package calls our layers.
_NAMES = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}
_STATISTICS = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def lite0(size: tuple[int, int]) -> keras.Model:
    """Build the network without its top: uint8 images (B, H, W, 3) RGB → float32 (B, H/32, W/32, 1280)."""
    image = keras.Input((*size, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 128, offset=-127 / 128, name="rescale")(image)  # (x - 127) / 128
    x = _step(x, keras.layers.Conv2D(32, 3, 2, padding="same", use_bias=False, name="stem_conv"), "stem")
    number = 0
    for stage in _STAGES:
        for repeat in range(stage.repeats):
            x = _block(x, stage, stage.stride if repeat == 0 else 1, f"block_{number}")
            number += 1
    x = _step(x, keras.layers.Conv2D(1280, 1, use_bias=False, name="out_conv"), "out")
    return keras.Model(image, x, name="efficientnet_lite0")


def _block(x: keras.KerasTensor, stage: _Stage, stride: int, name: str) -> keras.KerasTensor:
    """Expand, filter each channel, project; add the input where nothing changes the shape."""
    channels, y = x.shape[-1], x
    if stage.expansion > 1:
        wide = channels * stage.expansion
        y = _step(
            y, keras.layers.Conv2D(wide, 1, use_bias=False, name=f"{name}_expand_conv"), f"{name}_expand"
        )
    depthwise = keras.layers.DepthwiseConv2D(
        stage.kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )
    y = _step(y, depthwise, f"{name}_depthwise")
    project = keras.layers.Conv2D(stage.filters, 1, use_bias=False, name=f"{name}_project_conv")
    y = _step(y, project, f"{name}_project", activation=False)
    return keras.layers.Add(name=f"{name}_add")([x, y]) if stride == 1 and channels == stage.filters else y


def _step(
    x: keras.KerasTensor, convolution: keras.layers.Layer, name: str, activation: bool = True
) -> keras.KerasTensor:
    x = keras.layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_bn")(convolution(x))
    return keras.layers.ReLU(max_value=6, name=f"{name}_relu")(x) if activation else x


def load_package(model: keras.Model) -> None:
    """Give a network of `lite0` the weights of the package.

    Raises:
        ConfigError: see `package_content`; or the file's tensors do not have the network's shapes.
    """
    path, content = package_content()
    try:
        tensors = read_tensors(content)
        values = {variable.path: _value(variable.path, tensors) for variable in model.weights}
    except (pickle.UnpicklingError, KeyError) as error:
        raise altered(path, f"a file without the weights of {LITE0} ({error})") from error
    for variable in model.weights:
        value = values[variable.path]
        if value.shape != tuple(variable.shape):
            raise altered(path, f"{variable.path} of shape {value.shape} instead of {tuple(variable.shape)}")
        variable.assign(value)


def _value(path: str, tensors: dict[str, np.ndarray]) -> np.ndarray:
    """Return the value of a variable such as ``block_3_expand_conv/kernel``, with Keras' order of axes."""
    layer, kind = path.split("/")[-2:]
    if kind != "kernel":
        return tensors[f"{_their(layer)}.{_STATISTICS[kind]}"]
    value = tensors[f"{_their(layer)}.weight"]  # (out, in, h, w), or (channels, 1, h, w) of a depthwise one
    return value.transpose((2, 3, 0, 1) if layer.endswith("depthwise_conv") else (2, 3, 1, 0))


def _their(layer: str) -> str:
    place, _, kind = layer.rpartition("_")  # kind: conv or bn
    if place in ("stem", "out"):
        return {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "out_conv": "_conv_head", "out_bn": "_bn1"}[
            layer
        ]
    block, _, step = place.rpartition("_")
    return f"_blocks.{block.removeprefix('block_')}.{_NAMES[step][kind == 'bn']}"
