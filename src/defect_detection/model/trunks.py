"""Trunks: feature extractors with maps at several levels (our own `compact`, EfficientNet-Lite0, models of keras.applications)."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from defect_detection.errors import ConfigError
from defect_detection.files.unfinished import whole_file
from defect_detection.model.backend import keras
from defect_detection.model.efficientnet_lite import LITE0_LEVELS, lite0, load_package
from defect_detection.model.named_weights import COMPACT, COMPACT_WEIGHTS, LITE0, check_weights

# Channels of its stem and its three stages, and of the wide 1 × 1 convolutions in the last two.
COMPACT_CHANNELS = {
    "stem": 24,
    "level1": 48,
    "level2": 96,
    "level2_wide": 192,
    "level3": 192,
    "level3_wide": 576,
}
COMPACT_LEVELS = ("level1", "level2_wide_relu", "level2", "level3_wide_relu", "level3")

_LEVELS = {
    COMPACT: COMPACT_LEVELS,
    LITE0: LITE0_LEVELS,
    "MobileNetV2": ("block_6_expand_relu", "block_10_expand_relu", "block_13_expand_relu", "out_relu"),
}
# How each family of keras.applications wants its input: x / 127.5 - 1, ImageNet mean and variance, or BGR minus mean.
_SYMMETRIC = ("MobileNet", "MobileNetV2", "InceptionV3", "InceptionResNetV2", "Xception", "NASNetMobile", "NASNetLarge",
              "ResNet50V2", "ResNet101V2", "ResNet152V2")  # fmt: skip
_STANDARDISED = ("DenseNet121", "DenseNet169", "DenseNet201")
_BGR = ("ResNet50", "ResNet101", "ResNet152", "VGG16", "VGG19")
_OWN_PREPROCESSING = ("EfficientNet", "ConvNeXt", "MobileNetV3")


@dataclass(frozen=True)
class Trunk:
    """A feature extractor.

    model: uint8 images (B, H, W, 3) RGB → one float32 map (B, h, w, C) per level, fine to coarse; its preprocessing is inside.
    levels: the names of the layers whose outputs these are.
    name, weights: what was asked for.
    fingerprint: sha256 over the architecture, levels and weights; the key of everything that is cached.
    learned: short hashes (`bundle.short_hashes`) of the images that fine-tuning trained its weights on; none: as shipped.
    """

    model: keras.Model
    levels: tuple[str, ...]
    name: str
    weights: str | None
    fingerprint: str
    learned: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))


def build_trunk(
    name: str,
    weights: str | Path | None,
    image_size: int | tuple[int, int],
    levels: tuple[str, ...] | None = None,
    seed: int = 0,
) -> Trunk:
    """Build a trunk and load its weights.

    Args:
        name: `compact`, `EfficientNetLite0`, or a class of keras.applications such as `MobileNetV2`.
        weights: a name of `NAMED_WEIGHTS` that belongs to the trunk (`imagenet` downloads), a local weights file, or None for a random
            start.
        image_size: height and width of the input in px, or one number for both.
        levels: names of layers to take maps from; None for the trunk's own choice.

    Raises:
        ConfigError: the name, weights or levels don't exist or don't fit together.
    """
    keras.utils.set_random_seed(seed)
    check_weights(name, weights)
    own = {COMPACT: _compact, LITE0: lite0}.get(name)
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    base = own(size) if own else _application(name, weights, size)
    chosen = tuple(levels or _default_levels(name, base))
    known = {layer.name for layer in base.layers}
    if unknown := [level for level in chosen if level not in known]:
        raise ConfigError(
            f"levels: trunk {name} has no layer {unknown[0]!r}; its default levels are {', '.join(_default_levels(name, base))}"
        )
    _load_weights(base, name, weights)
    outputs = [base.get_layer(level).output for level in chosen]
    model = keras.Model(base.inputs, outputs, name=f"{name}_trunk")
    return Trunk(model, chosen, name, str(weights) if weights else None, fingerprint(model))


def fingerprint(model: keras.Model) -> str:
    """Return the sha256 of a model's architecture and weights: equal fingerprints give equal activations."""
    digest = hashlib.sha256()
    places = {id(operation): place for place, operation in enumerate(model.operations)}
    for operation in model.operations:
        ignored = ("name", "trainable", "dtype")  # names count up with every model built in a process
        config = {key: value for key, value in operation.get_config().items() if key not in ignored}
        sources = [places.get(id(node.operation)) for node in operation._inbound_nodes[0].parent_nodes]
        step = [operation.__class__.__name__, config, sources]
        digest.update(json.dumps(step, sort_keys=True, default=str).encode())
    outputs = [(places[id(output._keras_history.operation)], str(output.shape)) for output in model.outputs]
    digest.update(json.dumps(outputs).encode())
    for value in model.get_weights():
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _compact(size: tuple[int, int]) -> keras.Model:
    """Our own trunk: a wide first convolution and three residual stages at strides 4, 8 and 16."""
    image = keras.Input((*size, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 64, offset=-2, name="rescale")(image)  # (x - 128) / 64
    x = _convolution(x, COMPACT_CHANNELS["stem"], 5, 2, "stem")  # (B, H/2, W/2, 24)
    x = _stage(x, "level1")  # (B, H/4, W/4, 48)
    x = _stage(x, "level2")  # (B, H/8, W/8, 96)
    x = _stage(x, "level3")  # (B, H/16, W/16, 192)
    return keras.Model(image, x, name="compact")


def _stage(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Halve the resolution, then a residual block of 3 × 3, and one of 1 × 1 through many channels where the stage has a wide one.

    The wide activations cost little and are many different detectors: what a linear head needs.
    """
    filters, wide = COMPACT_CHANNELS[name], COMPACT_CHANNELS.get(f"{name}_wide")
    x = _convolution(x, filters, 3, 2, f"{name}_down")
    y = _convolution(x, filters, 3, 1, f"{name}_a")
    y = _convolution(y, filters, 3, 1, f"{name}_b", activation=False)
    x = _joined(x, y, f"{name}_block" if wide else name)
    if not wide:
        return x
    y = _convolution(x, wide, 1, 1, f"{name}_wide")
    return _joined(x, _convolution(y, filters, 1, 1, f"{name}_narrow", activation=False), name)


def _joined(x: keras.KerasTensor, y: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.ReLU(name=name)(keras.layers.Add(name=f"{name}_add")([x, y]))


def _convolution(
    x: keras.KerasTensor, filters: int, kernel: int, stride: int, name: str, activation: bool = True
) -> keras.KerasTensor:
    x = keras.layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x) if activation else x


def _application(name: str, weights: str | Path | None, size: tuple[int, int]) -> keras.Model:
    architecture = getattr(keras.applications, name, None)
    if not isinstance(architecture, type(keras.applications.MobileNetV2)):
        raise ConfigError(
            f"trunk: expected 'compact', '{LITE0}' or a model of keras.applications such as 'MobileNetV2', received {name!r}"
        )
    image = keras.Input((*size, 3), dtype="uint8", name="image")
    source = "imagenet" if weights == "imagenet" else None
    return architecture(include_top=False, weights=source, input_tensor=_preprocessed(image, name))


def _preprocessed(image: keras.KerasTensor, name: str) -> keras.KerasTensor:
    if name in _SYMMETRIC:
        return keras.layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(image)
    if name in _STANDARDISED:
        scaled = keras.layers.Rescaling(1 / 255, name="rescale")(image)
        mean, variance = (0.485, 0.456, 0.406), (0.229**2, 0.224**2, 0.225**2)
        return keras.layers.Normalization(mean=mean, variance=variance, name="standardise")(scaled)
    if name in _BGR:
        x = keras.ops.flip(keras.layers.Rescaling(1.0, name="rescale")(image), axis=-1)
        return keras.layers.Normalization(
            mean=(103.939, 116.779, 123.68), variance=(1, 1, 1), name="standardise"
        )(x)
    if name.startswith(_OWN_PREPROCESSING):
        return keras.layers.Rescaling(1.0, name="rescale")(image)
    raise ConfigError(
        f"trunk: the input scaling of {name!r} is unknown; expected a model such as MobileNetV2, ResNet50V2 or "
        "EfficientNetB0"
    )


def _default_levels(name: str, base: keras.Model) -> tuple[str, ...]:
    """Return the known levels, or the last layer at each of the three coarsest resolutions."""
    if name in _LEVELS:
        return _LEVELS[name]
    last_at: dict[int, str] = {}
    for layer in base.layers:
        shape: tuple[int | None, ...] = getattr(layer.output, "shape", ())
        height = (shape[1] or 0) if len(shape) == 4 else 0
        if height > 1 and not isinstance(layer, keras.layers.ZeroPadding2D):  # 1: a squeezed attention weight
            last_at[height] = layer.name
    return tuple(last_at[height] for height in sorted(last_at)[:3][::-1])


def _load_weights(base: keras.Model, name: str, weights: str | Path | None) -> None:
    if weights in (None, "imagenet"):
        return
    if weights == "package":
        load_package(base)
        return
    weights = COMPACT_WEIGHTS.get(str(weights), weights)
    if Path(weights).suffix == ".npz":
        load_npz(base, Path(weights))
        return
    try:
        base.load_weights(weights)
    except (ValueError, OSError, KeyError) as error:
        raise ConfigError(
            f"weights: {weights} does not fit trunk {name}: {str(error).splitlines()[0]}"
        ) from error


def save_npz(model: keras.Model, path: Path) -> None:
    """Write a model's weights by variable path, in half precision, compressed."""
    values: dict[str, Any] = {
        variable.path: _split(keras.ops.convert_to_numpy(variable.value).astype("<f2"))
        for variable in model.weights
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **values)


def _split(value: np.ndarray) -> np.ndarray:
    """Return the low bytes, then the high bytes; separated, they compress an eighth better."""
    return np.moveaxis(value[..., np.newaxis].view(np.uint8), -1, 0)


def _joined_bytes(stored: np.ndarray) -> np.ndarray:
    """Undo `_split`; older files hold plain numbers."""
    if stored.dtype == np.uint8:
        stored = np.ascontiguousarray(np.moveaxis(stored, 0, -1)).view("<f2")[..., 0]
    return stored.astype(np.float32)


def load_npz(model: keras.Model, path: Path) -> None:
    """Read weights that `save_npz` wrote."""
    with np.load(path, allow_pickle=False) as file:
        stored = {key: _joined_bytes(file[key]) for key in file.files}
    expected = {variable.path: tuple(variable.shape) for variable in model.weights}
    received = {key: value.shape for key, value in stored.items()}
    if received != expected:
        key = next(key for key in [*expected, *received] if received.get(key) != expected.get(key))
        raise ConfigError(
            f"weights: {path} does not contain the weights of {model.name}: expected {_array(expected, key)}, received "
            f"{_array(received, key)}; create them again with this version (defect pretrain --output FILE)"
        )
    for variable in model.weights:
        variable.assign(stored[variable.path])


def _array(shapes: dict[str, tuple[int, ...]], key: str) -> str:
    return f"{key} of shape {shapes[key]}" if key in shapes else f"no {key}"
