"""Write a Keras model in the form that the fast runtime reads (OpenVINO IR)."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from defect_detection.model.openvino import load_openvino

if TYPE_CHECKING:
    import keras


def to_openvino(model: "keras.Model", path: Path) -> None:
    """Write `model` as ``path`` (.xml) with its weights beside it (.bin), in full precision; outputs keep their names."""
    openvino = load_openvino()
    converted = openvino.convert_model(model)
    _check_outputs(converted, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}-{path.name}")
    openvino.save_model(converted, partial, compress_to_fp16=False)
    partial.with_suffix(".bin").replace(path.with_suffix(".bin"))
    partial.replace(path)  # the .xml last: whoever sees it sees a whole model


def named_outputs(model: "keras.Model") -> "dict[str, keras.KerasTensor]":
    """Return the outputs of a model that was built with a mapping of them."""
    return dict(model.output)


def _check_outputs(converted: object, model: "keras.Model") -> None:
    names = {name for output in converted.outputs for name in output.get_names()}  # type: ignore[attr-defined]
    if missing := named_outputs(model).keys() - names:
        raise ValueError(f"the exported model has no output {sorted(missing)}; it has {sorted(names)}")
