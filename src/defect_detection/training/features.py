"""Cache the activations of the frozen part of a trunk on disk, by image content."""

import logging
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from defect_detection.data.cache import RowStore
from defect_detection.inference.runtime import Runtime
from defect_detection.model.backend import keras
from defect_detection.model.forms import named_outputs, to_openvino
from defect_detection.model.trunks import fingerprint
from defect_detection.processes.watch import OnProgress
from defect_detection.training.flips import turned_key
from defect_detection.training.frozen import FrozenModel, run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rows:
    """Rows of a memory-mapped store in the order of some samples: ``rows[indices]`` reads only these rows."""

    stored: np.ndarray
    positions: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, indices: np.ndarray | slice) -> np.ndarray:
        return np.asarray(self.stored[self.positions[indices]])

    def of(self, some: np.ndarray) -> "Rows":
        """Return the rows of some of the samples, which are not read yet."""
        return Rows(self.stored, self.positions[some])

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
    frozen = frozen_of(model, pixels, cache_dir)
    stores = frozen.stores(only)
    if todo := frozen.missing(stores, keys, turn):
        done = len(keys) - len(todo)

        def follow(count: int, _: int) -> None:
            if on_progress:
                on_progress(done + count, len(keys))

        make_whole(model, frozen.model)
        frozen.compute(Runtime(frozen.model), stores, todo, pixels, turn, follow)
    shown = [turned_key(key, turn) for key in keys]
    return {name: Rows(*store.view(shown)) for name, store in stores.items()}


def without_store(
    model: keras.Model, pixels: RowStore, cache_dir: Path
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Return what computes a frozen model's outputs for images that no store holds: uint8 (n, H, W, 3), RGB."""
    frozen = frozen_of(model, pixels, cache_dir)
    make_whole(model, frozen.model)
    runtime = Runtime(frozen.model)
    return lambda images: run(runtime, images, list(frozen.shapes))


def frozen_of(model: keras.Model, pixels: RowStore, cache_dir: Path) -> FrozenModel:
    """Return where the outputs of a model for these images are kept."""
    folder = cache_dir / "activations" / f"{fingerprint(model)[:20]}-{pixels.folder.name}"
    return FrozenModel(
        folder, {name: tuple(output.shape[1:]) for name, output in named_outputs(model).items()}
    )


def make_whole(model: keras.Model, path: Path) -> None:
    """Store a model beside its activations as OpenVINO reads it, unless the stored conversion is whole."""
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


def _checksum(path: Path) -> bytes:
    whole = zlib.crc32(path.with_suffix(".bin").read_bytes(), zlib.crc32(path.read_bytes()))
    return f"{whole:08x}".encode()
