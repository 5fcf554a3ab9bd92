"""Cache the activations of the frozen part of a trunk on disk, by image content."""

import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from defect_detection.data.cache import RowStore
from defect_detection.errors import DivergedError
from defect_detection.inference.runtime import Runtime
from defect_detection.model.backend import keras
from defect_detection.model.forms import named_outputs, to_openvino
from defect_detection.model.trunks import fingerprint
from defect_detection.processes.watch import OnProgress
from defect_detection.training.flips import turned, turned_key

log = logging.getLogger(__name__)

_BATCH = 16  # images, at most
_ROWS_PER_WRITE = 256  # at most
CHUNK_BYTES = 256 * 2**20  # of a model's outputs in memory at a time, however large the images are


@dataclass(frozen=True)
class Rows:
    """Rows of a memory-mapped store in the order of some samples: ``rows[indices]`` reads only these rows."""

    stored: np.ndarray
    positions: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, indices: np.ndarray | slice) -> np.ndarray:
        return np.asarray(self.stored[self.positions[indices]])

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        return tuple(self.stored.shape[1:])


def activations(
    model: keras.Model,
    keys: Sequence[str],
    pixels: RowStore,
    cache_dir: Path,
    on_progress: OnProgress | None = None,
    *,
    only: Sequence[str] | None = None,
    turn: int = 0,
) -> dict[str, Rows]:
    """Return a frozen model's outputs for the images, and compute only those missing in the cache.

    Args:
        model: uint8 image (B, H, W, 3) → one or more named outputs.
        keys: the images' content hashes, as in `pixels`.
        pixels: decoded images.
        on_progress: is called with (images done, images in all).
        only: names of the outputs that are wanted and kept; None for all.
        turn: which of their eight flips and turns the images are shown in; 0 leaves them as they are.

    Raises:
        DivergedError: an output is too large for the cache's precision.
    """
    images, keys = keys, [turned_key(key, turn) for key in keys]
    folder = _folder_of(model, pixels, cache_dir)
    stores = {
        name: RowStore(folder / name, tuple(output.shape[1:]), _precision(output.shape[1:]))
        for name, output in named_outputs(model).items()
        if only is None or name in only
    }
    content = dict(zip(keys, images, strict=True))
    todo = list(dict.fromkeys(key for store in stores.values() for key in store.missing(keys)))
    if todo:
        runtime = _compiled(model, folder / "model.xml")
        n_rows = rows_at_a_time(*(output.shape[1:] for output in named_outputs(model).values()))
        for start in range(0, len(todo), n_rows):
            chunk = todo[start : start + n_rows]
            shown = pixels.rows([content[key] for key in chunk])
            outputs = _run(runtime, turned(shown, turn), list(stores))
            for name, store in stores.items():
                store.append(chunk, _narrowed(outputs[name], store.dtype))
            if on_progress:
                on_progress(len(keys) - len(todo) + start + len(chunk), len(keys))
    return {name: Rows(*store.view(keys)) for name, store in stores.items()}


def features_of(
    model: keras.Model, images: np.ndarray, pixels: RowStore, cache_dir: Path
) -> dict[str, np.ndarray]:
    """Return a frozen model's outputs for a few images that no store holds: uint8 (n, H, W, 3), RGB."""
    runtime = _compiled(model, _folder_of(model, pixels, cache_dir) / "model.xml")
    return _run(runtime, images, list(named_outputs(model)))


def _folder_of(model: keras.Model, pixels: RowStore, cache_dir: Path) -> Path:
    return cache_dir / "activations" / f"{fingerprint(model)[:20]}-{pixels.folder.name}"


def rows_at_a_time(*shapes: Sequence[int]) -> int:
    """Return how many rows of these shapes, in single precision, are in memory at a time."""
    row_bytes = 4 * sum(int(np.prod(shape)) for shape in shapes)
    return min(max(CHUNK_BYTES // row_bytes, 1), _ROWS_PER_WRITE)


def _precision(shape: Sequence[int]) -> type:
    """Vectors are small and stored in full precision; maps are large and stored in half precision."""
    return np.float32 if len(shape) == 1 else np.float16


def _narrowed(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    try:
        with np.errstate(over="raise"):
            return values.astype(dtype)
    except FloatingPointError as error:
        raise DivergedError(
            f"activations of the trunk are beyond {np.finfo(dtype).max:g}; lower the learning rate that it was trained with"
        ) from error


def _compiled(model: keras.Model, path: Path) -> Runtime:
    """Return the model to run: the stored conversion beside its activations, or a new one."""
    kept = path.with_suffix(".sum")
    try:
        is_whole = kept.read_bytes() == _checksum(path)
    except OSError:
        is_whole = False
    if not is_whole:
        if path.exists() and kept.exists():
            log.warning("%s: damaged; computed again", path)
        to_openvino(model, path)
        kept.write_bytes(_checksum(path))
    return Runtime(path)


def _checksum(path: Path) -> bytes:
    whole = zlib.crc32(path.with_suffix(".bin").read_bytes(), zlib.crc32(path.read_bytes()))
    return f"{whole:08x}".encode()


def _run(runtime: Runtime, images: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    batches: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for start in range(0, len(images), _BATCH):
        outputs = runtime(images[start : start + _BATCH])
        for name in names:
            batches[name].append(outputs[name])
    return {name: np.concatenate(parts) for name, parts in batches.items()}
