"""Convert a Keras model to OpenVINO (used for inspection), OpenVINO with 8-bit convolutions, ONNX or LiteRT.

ONNX and 8 bits need the extra `export`: ``pip install 'defect-detection[export]'``.
"""

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from defect_detection.errors import BundleError
from defect_detection.files.unfinished import working_folder
from defect_detection.model.chatter import without_chatter
from defect_detection.model.openvino import load_openvino, save_openvino

if TYPE_CHECKING:
    import keras

_QUANTISED = {"Convolution", "GroupConvolution", "Constant", "Parameter", "Result"}


def to_openvino(model: "keras.Model", path: Path) -> None:
    """Write `model` as ``path`` (.xml) with its weights beside it (.bin), in full precision; outputs keep their names.

    OpenVINO reads Keras models of the TensorFlow backend only; with another one, a process of its own converts.
    """
    from defect_detection.model.backend import keras

    if keras.backend.backend() != "tensorflow":
        _in_tensorflow(model, path)
        return
    openvino = load_openvino()
    with without_chatter():
        converted = openvino.convert_model(model)
    _check_outputs(converted, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    with working_folder(path.parent) as folder:
        partial = folder / path.name
        save_openvino(converted, partial)
        partial.with_suffix(".bin").replace(path.with_suffix(".bin"))
        partial.replace(path)  # write the .xml last: its presence marks a complete model


def _in_tensorflow(model: "keras.Model", path: Path) -> None:
    """As `to_openvino`, in another process.

    Raises:
        BundleError: TensorFlow is missing there, or can't convert the model.
    """
    with working_folder() as folder:
        saved = folder / "model.keras"
        model.save(saved)
        command = [sys.executable, "-m", __name__, str(saved), str(path.absolute())]
        environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
        finished = subprocess.run(  # noqa: S603  our own module
            command, env=environment, capture_output=True, text=True, check=False
        )
    if finished.returncode:
        reason = (finished.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise BundleError(
            f"{path}: cannot be written. TensorFlow must be installed for the conversion, with any KERAS_BACKEND. It "
            f"reports: {reason}"
        )


def to_int8(source: Path, path: Path, images: np.ndarray) -> None:
    """Write the OpenVINO model `source` with its convolutions in 8 bits as ``path`` (.xml), weights beside it (.bin).

    The head stays in full precision: its features are divided by small deviations, which would multiply the rounding.

    Args:
        images: uint8 array of shape (n_images, H, W, 3), RGB, that the ranges of values are measured on: some hundred training
            images, never test images.
    """
    openvino = load_openvino()
    import nncf

    nncf.set_log_level(logging.WARNING)  # it would name every layer that it leaves alone
    model = openvino.Core().read_model(source)
    others = {operation.get_type_name() for operation in model.get_ops()} - _QUANTISED
    ranges = nncf.Dataset([image[np.newaxis] for image in images])
    head = nncf.IgnoredScope(types=sorted(others), validate=False)
    quantised = nncf.quantize(
        model,
        ranges,
        preset=nncf.QuantizationPreset.MIXED,
        fast_bias_correction=False,  # the fast one leaves a shift that flipped 7 % of the verdicts on castings
        subset_size=len(images),
        ignored_scope=head,
    )
    save_openvino(quantised, path)


def to_onnx(model: "keras.Model", path: Path) -> None:
    """Write `model` as one ONNX file; input and outputs keep their names, and its batch may have any size."""
    from defect_detection.model.backend import keras

    plain = keras.models.clone_model(model, clone_function=_without_constants)
    plain.set_weights(model.get_weights())
    plain(
        [np.zeros((1, *model.input_shape[1:]), np.uint8)]
    )  # Keras exports only layers that have been called
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "In the future `np.object`", FutureWarning
        )  # of Keras' own bridge to tf2onnx
        with without_chatter():
            plain.export(path, format="onnx", verbose=False)


def onnx_to_int8(source: Path, path: Path, images: np.ndarray) -> None:
    """Write the ONNX file `source` with its convolutions in 8 bits; images as for `to_int8`, and the head for its reason.

    Weights use 7 of the 8 bits: processors without VNNI add two products in 16 bits, which the full range overflows, so the
    scores would depend on the processor.
    """
    from onnxruntime import quantization

    with working_folder() as folder:
        prepared = folder / "prepared.onnx"
        quantization.quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            path,
            _OneByOne(images),
            op_types_to_quantize=["Conv"],
            per_channel=True,
            reduce_range=True,
        )


class _OneByOne:
    """Give images (n_images, H, W, 3) one by one, as ONNX Runtime asks for them."""

    def __init__(self, images: np.ndarray) -> None:
        self._left = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._left, None)
        return None if image is None else {"image": image[np.newaxis]}


def to_litert(model: "keras.Model", path: Path) -> None:
    """Write `model` as one LiteRT file (.tflite); input and outputs keep their names, and its batch may have any size.

    Whether LiteRT has all operations shows when it runs the file.
    """
    with without_chatter():
        model.export(path, format="litert", verbose=False)


def load_keras(path: Path) -> "keras.Model":
    """Load the Keras model of a bundle whose checksums were verified."""
    from defect_detection.model.backend import keras

    return keras.models.load_model(path, compile=False, safe_mode=True)


def outputs_of(model: "keras.Model", images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the outputs of a model for one batch, uint8 (n, H, W, 3).

    A few images take less time than a compiled graph, which is therefore not made.
    """
    from defect_detection.model.backend import ops

    outputs = model([images], training=False)
    return {name: ops.convert_to_numpy(output) for name, output in outputs.items()}


def _without_constants(layer: "keras.layers.Layer") -> "keras.layers.Layer":
    """Copy a layer; a standardisation as scale and offset, because tf2onnx takes its two constants for inputs."""
    from defect_detection.model.backend import keras

    if not isinstance(layer, keras.layers.Normalization):
        return layer.__class__.from_config(layer.get_config())
    config = layer.get_config()
    scale = 1 / np.sqrt(np.array(config["variance"]))
    offset = -np.array(config["mean"]) * scale
    return keras.layers.Rescaling(scale.tolist(), offset.tolist(), name=layer.name)


def named_outputs(model: "keras.Model") -> "dict[str, keras.KerasTensor]":
    """Return the outputs of a model that was built with a mapping of them."""
    return dict(model.output)


def _check_outputs(converted: object, model: "keras.Model") -> None:
    names = {name for output in converted.outputs for name in output.get_names()}  # type: ignore[attr-defined]
    if missing := named_outputs(model).keys() - names:
        raise ValueError(f"the exported model has no output {sorted(missing)}; it has {sorted(names)}")


if __name__ == "__main__":
    to_openvino(load_keras(Path(sys.argv[1])), Path(sys.argv[2]))
