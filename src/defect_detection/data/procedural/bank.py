"""Banks of drawn scenes and products on disk, for pre-training: made once, in worker processes, resumable."""

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from defect_detection.data.procedural.cells import cell_bits
from defect_detection.data.procedural.products import draw_product
from defect_detection.data.procedural.scene import draw

GENERATION = 3  # part of every file name: raise it when the same seed no longer gives the same images
_PER_CHUNK = 512  # scenes
_PRODUCTS_PER_CHUNK = 16
Columns = dict[str, np.ndarray]


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


@dataclass(frozen=True)
class Products:
    """Drawn products, each with the arrays of `products.Product`: images, cells and defective of shape (n, 32, …)."""

    images: np.ndarray
    cells: np.ndarray
    defective: np.ndarray


def make_bank(
    folder: Path,
    n_images: int,
    size: int,
    seed: int,
    *,
    workers: int = 2,
    on_progress: Callable[[int, int], None] | None = None,
) -> Bank:
    """Draw `n_images` scenes of `size` px, or what is missing of them in `folder`, and return them all."""
    n_chunks = -(-n_images // _PER_CHUNK)
    paths = [folder / f"scenes{GENERATION}-{size}px-seed{seed}-{chunk:05d}.npz" for chunk in range(n_chunks)]
    _draw_missing(paths, _draw_scenes, (size, seed), workers, on_progress)
    return Bank(**_load(paths, n_images))


def make_products(
    folder: Path,
    n_products: int,
    size: int,
    seed: int,
    *,
    workers: int = 2,
    on_progress: Callable[[int, int], None] | None = None,
) -> Products:
    """Draw `n_products` products of `size` px, or what is missing of them in `folder`, and return them all.

    They take 1.6 MB of memory each, at 128 px.
    """
    n_chunks = -(-n_products // _PRODUCTS_PER_CHUNK)
    paths = [
        folder / f"products{GENERATION}-{size}px-seed{seed}-{chunk:05d}.npz" for chunk in range(n_chunks)
    ]
    _draw_missing(paths, _draw_products, (size, seed), workers, on_progress)
    return Products(**_load(paths, n_products))


def _draw_missing(
    paths: list[Path],
    draw_chunk: Callable[[int, int, int], Columns],
    what: tuple[int, int],
    workers: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Draw the chunks whose files aren't there. `what`: size and seed."""
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    missing = [chunk for chunk, path in enumerate(paths) if not path.exists()]
    with ProcessPoolExecutor(max_workers=workers) as pool:
        jobs = [pool.submit(_draw_file, paths[chunk], draw_chunk, chunk, *what) for chunk in missing]
        for done, job in enumerate(as_completed(jobs), start=len(paths) - len(missing) + 1):
            job.result()
            if on_progress:
                on_progress(done, len(paths))


def _draw_file(
    path: Path, draw_chunk: Callable[[int, int, int], Columns], chunk: int, size: int, seed: int
) -> None:
    columns = draw_chunk(chunk, size, seed)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **columns)
    partial.replace(path)


def _draw_scenes(chunk: int, size: int, seed: int) -> Columns:
    scenes = [_draw_one(np.random.default_rng([seed, chunk, index]), size) for index in range(_PER_CHUNK)]
    images, cells, backgrounds = (np.stack(column) for column in zip(*scenes, strict=True))
    return {"images": images, "cells": cells, "backgrounds": backgrounds.astype(np.int16)}


def _draw_one(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scene = draw(rng, size, int(rng.choice([0, 1, 2, 3], p=[0.3, 0.35, 0.2, 0.15])))
    return scene.image, cell_bits(scene.masks, size), np.asarray(scene.background)


def _draw_products(chunk: int, size: int, seed: int) -> Columns:
    first = (seed << 32) + chunk * _PRODUCTS_PER_CHUNK
    drawn = [draw_product(first + index, size) for index in range(_PRODUCTS_PER_CHUNK)]
    return {
        name: np.stack([getattr(one, name) for one in drawn]) for name in ("images", "cells", "defective")
    }


def _load(paths: list[Path], count: int) -> Columns:
    """Read the chunks, one at a time, into arrays of their final size."""
    with np.load(paths[0], allow_pickle=False) as first:
        columns = {name: np.empty((count, *first[name].shape[1:]), first[name].dtype) for name in first.files}
        per_chunk = len(first[first.files[0]])
    for number, path in enumerate(paths):
        with np.load(path, allow_pickle=False) as file:
            for name, column in columns.items():
                part = column[number * per_chunk : (number + 1) * per_chunk]
                part[:] = file[name][: len(part)]
    return columns
