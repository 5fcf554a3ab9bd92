"""Rows of a frozen model's outputs in the cache, computed with OpenVINO alone: a process needs no Keras for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from defect_detection.data.cache import RowStore
from defect_detection.errors import DivergedError
from defect_detection.inference.runtime import Runtime
from defect_detection.processes.watch import OnProgress
from defect_detection.training.flips import turned, turned_key

_BATCH = 16  # images, at most
_ROWS_PER_WRITE = 256  # at most
CHUNK_BYTES = 256 * 2**20  # of a model's outputs in memory at a time, however large the images are


@dataclass(frozen=True)
class FrozenModel:
    """A model that does not change: where its outputs are kept, with ``model.xml`` beside them, and the shape of each."""

    folder: Path
    shapes: dict[str, tuple[int, ...]]

    @property
    def model(self) -> Path:
        return self.folder / "model.xml"

    def stores(self, only: Sequence[str] | None = None) -> dict[str, RowStore]:
        """Return the stores of the outputs `only`, or of all."""
        return {
            name: RowStore(self.folder / name, shape, _precision(shape))
            for name, shape in self.shapes.items()
            if only is None or name in only
        }

    def missing(self, stores: dict[str, RowStore], images: Sequence[str], turn: int) -> dict[str, str]:
        """Return the keys that lack a row, each with the key of its image."""
        content = {turned_key(image, turn): image for image in images}
        todo = dict.fromkeys(key for store in stores.values() for key in store.missing(content))
        return {key: content[key] for key in todo}

    def compute(
        self,
        runtime: Runtime,
        stores: dict[str, RowStore],
        todo: dict[str, str],
        pixels: RowStore,
        turn: int,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Compute the rows of `todo`, as `missing` returns it, and keep each some with the others.

        Args:
            runtime: of `model`.
            pixels: decoded images.
            on_progress: is called with (images done, images to do).

        Raises:
            DivergedError: an output is too large for the cache's precision.
        """
        keys, n_rows = list(todo), rows_at_a_time(*self.shapes.values())
        for start in range(0, len(keys), n_rows):
            chunk = keys[start : start + n_rows]
            outputs = run(runtime, turned(pixels.rows([todo[key] for key in chunk]), turn), list(stores))
            for name, store in stores.items():
                store.append(chunk, _narrowed(outputs[name], store.dtype))
            if on_progress:
                on_progress(start + len(chunk), len(keys))


def rows_at_a_time(*shapes: Sequence[int]) -> int:
    """Return how many rows of these shapes, in single precision, are in memory at a time."""
    row_bytes = 4 * sum(int(np.prod(shape)) for shape in shapes)
    return min(max(CHUNK_BYTES // row_bytes, 1), _ROWS_PER_WRITE)


def _precision(shape: Sequence[int]) -> type:
    """Vectors are small and are kept as they are; maps, which are large, in half of that."""
    return np.float32 if len(shape) == 1 else np.float16


def _narrowed(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    try:
        with np.errstate(over="raise"):
            return values.astype(dtype)
    except FloatingPointError as error:
        raise DivergedError(
            f"activations of the trunk exceed {np.finfo(dtype).max:g}; fine-tune the trunk with a lower learning rate"
        ) from error


def run(runtime: Runtime, images: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the named outputs for images, uint8 (n, H, W, 3), RGB, which are computed a few at a time."""
    batches: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for start in range(0, len(images), _BATCH):
        outputs = runtime(images[start : start + _BATCH])
        for name in names:
            batches[name].append(outputs[name])
    return {name: np.concatenate(parts) for name, parts in batches.items()}
