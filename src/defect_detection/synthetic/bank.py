"""A bank of drawn scenes on disk for pre-training, created once by worker processes; resumable."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from defect_detection.files.unfinished import remove_leftovers, whole_file
from defect_detection.processes.watch import OnProgress
from defect_detection.synthetic.defects import DEFECT_NAMES
from defect_detection.synthetic.scene import draw

CELL_PX = 8
GENERATION = 2  # part of every file name: raise it when the same seed no longer gives the same scenes
_PER_CHUNK = 512


@dataclass(frozen=True)
class Bank:
    """Drawn scenes.

    images: uint8 array of shape (n, size, size, 3), RGB.
    cells: uint16 array of shape (n, size / 8, size / 8); bit k is set where defect type k touches the cell.
    backgrounds: int16 array of shape (n,).
    """

    images: np.ndarray
    cells: np.ndarray
    backgrounds: np.ndarray


def make_bank(
    folder: Path,
    n_images: int,
    size: int,
    seed: int,
    *,
    workers: int = 2,
    spawn: bool = False,
    on_progress: OnProgress | None = None,
) -> Bank:
    """Draw `n_images` scenes of `size` px, or what is missing of them in `folder`, and return them all.

    Args:
        spawn: start the processes anew instead of forking; needed where threads run already, as TensorFlow's do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers([folder])
    n_chunks = -(-n_images // _PER_CHUNK)
    paths = [folder / f"scenes{GENERATION}-{size}px-seed{seed}-{chunk:05d}.npz" for chunk in range(n_chunks)]
    missing = [chunk for chunk, path in enumerate(paths) if not path.exists()]
    context = multiprocessing.get_context("spawn") if spawn else None
    with ProcessPoolExecutor(workers, context) as pool:
        jobs = [pool.submit(_draw_chunk, paths[chunk], chunk, size, seed) for chunk in missing]
        for done, job in enumerate(as_completed(jobs), start=n_chunks - len(missing) + 1):
            job.result()
            if on_progress:
                on_progress(done * _PER_CHUNK, n_chunks * _PER_CHUNK)
    return _load(paths, n_images)


def _draw_chunk(path: Path, chunk: int, size: int, seed: int) -> None:
    scenes = [_draw_one(np.random.default_rng([seed, chunk, index]), size) for index in range(_PER_CHUNK)]
    images, cells, backgrounds = (np.stack(column) for column in zip(*scenes, strict=True))
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(file, images=images, cells=cells, backgrounds=backgrounds.astype(np.int16))


def _draw_one(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scene = draw(rng, size, int(rng.choice([0, 1, 2, 3], p=[0.3, 0.35, 0.2, 0.15])))
    cells = np.zeros((size // CELL_PX, size // CELL_PX), np.uint16)
    for kind, mask in scene.masks.items():
        touched = mask.reshape(size // CELL_PX, CELL_PX, size // CELL_PX, CELL_PX).sum((1, 3)) >= 2
        cells |= touched.astype(np.uint16) << kind
    return scene.image, cells, np.asarray(scene.background)


def _load(paths: list[Path], n_images: int) -> Bank:
    """Read the chunks, one at a time, into arrays of their final size."""
    with np.load(paths[0], allow_pickle=False) as first:
        columns = {
            name: np.empty((n_images, *first[name].shape[1:]), first[name].dtype) for name in first.files
        }
    for number, path in enumerate(paths):
        with np.load(path, allow_pickle=False) as file:
            for name, column in columns.items():
                part = column[number * _PER_CHUNK : (number + 1) * _PER_CHUNK]
                part[:] = file[name][: len(part)]
    return Bank(**columns)


def cell_targets(cells: np.ndarray) -> np.ndarray:
    """Unpack cell bits into float32 (n, h, w, n_types + 1): a channel per type, the last "any"."""
    bits = (cells[..., None] >> np.arange(len(DEFECT_NAMES), dtype=np.uint16)) & 1
    return np.concatenate([bits, (cells > 0)[..., None]], axis=-1).astype(np.float32)
