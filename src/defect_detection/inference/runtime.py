"""The one place that knows which runtime runs a model: OpenVINO on the CPU."""

from pathlib import Path

import numpy as np

from defect_detection.errors import BundleError


class Runtime:
    """A compiled model: ``runtime(images)`` gives its outputs by name.

    f32 unless set otherwise: left alone, OpenVINO takes bf16 where the processor has it, and scores move between machines.
    """

    def __init__(self, path: Path, *, threads: int | None = None, precision: str = "f32") -> None:
        import openvino  # 0.15 s: only where something is inspected

        options: dict[str, object] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            self._model = openvino.Core().compile_model(str(path), "CPU", options)
        except RuntimeError as error:
            raise BundleError(
                f"{path}: OpenVINO can't load it; copy or train it again ({str(error).splitlines()[-1]})"
            ) from error
        # An output may have several names, of which the converter adds some: all of them are valid.
        self._outputs = {name: output for output in self._model.outputs for name in output.get_names()}
        self._request = self._model.create_infer_request()

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Run a batch of uint8 images (B, H, W, 3), RGB. Not for several threads at once."""
        results = self._request.infer({0: images}, share_inputs=True)
        return {name: np.array(results[output]) for name, output in self._outputs.items()}
