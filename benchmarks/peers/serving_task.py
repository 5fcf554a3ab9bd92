"""The task of a server in this folder, and the model for servers that run OpenVINO. Needs OpenVINO, NumPy and Pillow."""

import json
import os
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

VARIABLE = "SERVING_TASK"


def task() -> dict[str, Any]:
    """Return port; bundle: this project's model folder; size: height and width in pixels of a decoded image; threads."""
    return dict(json.loads(os.environ[VARIABLE]))


def decode(content: bytes, size: int) -> np.ndarray:
    """Return an encoded image as a plain script reads it: uint8 (size, size, 3), RGB."""
    with Image.open(BytesIO(content)) as image:
        return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))


class Scorer:
    """The bundle's graph in OpenVINO, one request at a time."""

    def __init__(self) -> None:
        import openvino

        self.size = task()["size"]
        options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        model = openvino.Core().compile_model(f"{task()['bundle']}/model.xml", "CPU", options)
        self._request = model.create_infer_request()

    def __call__(self, content: bytes) -> float:
        """Return P(defective) of an encoded image."""
        image = decode(content, self.size)
        return float(self._request.infer({0: image[None]}, share_inputs=True)["score"][0])
