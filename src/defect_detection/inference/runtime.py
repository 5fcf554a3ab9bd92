"""Run a model in OpenVINO on the CPU. No other module knows the runtime."""

from collections import deque
from collections.abc import Generator, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from defect_detection.errors import BundleError
from defect_detection.model.openvino import load_openvino

Tag = TypeVar("Tag")

FEW = 64  # images that a runtime sees before it pays for the form that is faster for many: about 0.1 s


class Outputs(NamedTuple):
    """The outputs of a model for one image by name, without a batch axis, and the time including waiting."""

    outputs: dict[str, np.ndarray]
    took_ms: float


class Runtime:
    """A compiled model: ``runtime(images)`` gives its outputs by name. Several threads may share it.

    Each image is a request of its own, so an image's outputs depend neither on its neighbours nor on how many there are. The
    model is compiled in two forms: one puts all cores on one image, the other, made when many images have come, one core on
    each of several images.

    f32 unless set otherwise: left alone, OpenVINO takes bf16 where the processor has it, and scores move between machines.
    """

    def __init__(self, path: Path, *, threads: int | None = None, precision: str = "f32") -> None:
        self._core = load_openvino().Core()
        self._options: dict[str, object] = {"INFERENCE_PRECISION_HINT": precision}
        if threads:
            self._options["INFERENCE_NUM_THREADS"] = threads
        self._seen = 0
        try:
            self._graph = self._core.read_model(str(path))
            self._graph.reshape([1, *list(self._graph.input(0).partial_shape)[1:]])
            self._alone = self._compile("LATENCY")
        except RuntimeError as error:
            raise BundleError(
                f"{path}: OpenVINO cannot load it; copy the folder again or train again ({str(error).splitlines()[-1]})"
            ) from error

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the model's input in pixels; None if it accepts any size."""
        sides = list(self._graph.input(0).partial_shape)[1:3]
        return tuple(side.get_length() for side in sides) if all(side.is_static for side in sides) else None

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Run uint8 images (B, H, W, 3), RGB, and return each output as an array of shape (B, ...)."""
        rows = [answer.outputs for _, answer in self.each((None, image) for image in images) if answer]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def each(
        self, images: Iterable[tuple[Tag, np.ndarray | None]]
    ) -> Generator[tuple[Tag, Outputs | None], None, None]:
        """Run images one by one, several in parallel, and yield the outputs in order.

        Args:
            images: tags of any kind, each with a uint8 image (H, W, 3), RGB, or with None, which stays None.
                Is read a few images ahead of what was yielded.
        """
        running: deque[tuple[Tag, _Running | None]] = deque()
        try:
            for number, (tag, image) in enumerate(images):
                compiled = self._alone if number == 0 or self._seen < FEW else self._streams
                if len(running) >= compiled.most_at_once:
                    yield _finished(*running.popleft())
                running.append((tag, None if image is None else compiled.start(image)))
                self._seen += image is not None
            while running:
                yield _finished(*running.popleft())
        finally:
            for left in running:
                _finished(*left)

    def one(self, image: np.ndarray, *, alone: bool) -> Outputs:
        """Run one uint8 image (H, W, 3), RGB, now.

        Args:
            alone: no other image is processed, so it may use all cores; otherwise one core per image.
        """
        return (self._alone if alone else self._streams).start(image).finish()

    def prepare(self, *, lean: bool = False) -> None:
        """Compile the form for many now, instead of when many have come.

        Args:
            lean: have no such form. That takes half of the memory, and images that come together share the cores.
        """
        self._seen = max(self._seen, FEW)
        if lean:
            self._streams = self._alone
        _ = self._streams

    @cached_property
    def _streams(self) -> "_Compiled":
        # Not tied to cores: decoding, and whatever else runs, needs them too.
        return self._compile("THROUGHPUT", ENABLE_CPU_PINNING=False)

    def _compile(self, hint: str, **more: object) -> "_Compiled":
        options = self._options | {"PERFORMANCE_HINT": hint} | more
        return _Compiled(self._core.compile_model(self._graph, "CPU", options))


class _Compiled:
    """A compiled model and its idle requests."""

    def __init__(self, model: Any) -> None:
        self._model = model
        # An output may have several names, of which the converter adds some: all of them are valid.
        self.outputs = [(name, output) for output in model.outputs for name in output.get_names()]
        self.idle: deque[Any] = deque()
        # More than run at the same time, so a core continues while another is delayed by other work.
        self.most_at_once = 4 * model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")

    def start(self, image: np.ndarray) -> "_Running":
        try:
            request = self.idle.pop()
        except IndexError:
            request = self._model.create_infer_request()
        return _Running(self, request, image)


class _Running:
    """A request in progress. It keeps the image alive, because the request reads its memory."""

    def __init__(self, compiled: _Compiled, request: Any, image: np.ndarray) -> None:
        self._compiled, self._request, self._image = compiled, request, image
        request.start_async({0: image[np.newaxis]}, share_inputs=True)

    def finish(self) -> Outputs:
        self._request.wait()
        outputs = {
            name: self._request.get_tensor(output).data[0].copy() for name, output in self._compiled.outputs
        }
        took_ms = self._request.latency
        self._compiled.idle.append(self._request)
        return Outputs(outputs, took_ms)


def _finished(tag: Tag, running: _Running | None) -> tuple[Tag, Outputs | None]:
    return tag, None if running is None else running.finish()
