"""Decode images once, in parallel, into a store on disk."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from defect_detection.data.bounds import DEFAULT_LIMITS, Limits
from defect_detection.data.cache import RowStore
from defect_detection.data.framing import Framing
from defect_detection.data.images import DECODER_VERSION, Pages, read_image
from defect_detection.data.large import opened_large
from defect_detection.data.samples import Sample
from defect_detection.errors import ImageError
from defect_detection.processes.watch import OnProgress

CHUNK_BYTES = 64 * 2**20  # of decoded rows that are in memory at a time
MOST_THREADS = 16  # each may hold one image at its full size

"""Is called with (images done, images in all)."""


def decoded(
    samples: Sequence[Sample],
    fit: tuple[int, int] | Framing,
    cache_dir: Path,
    limits: Limits = DEFAULT_LIMITS,
    on_progress: OnProgress | None = None,
    *,
    pages: Pages = "refuse",
    bit_depth: int | None = None,
    threads: int | None = None,
) -> tuple[RowStore, dict[str, str]]:
    """Decode the images that the cache doesn't hold yet.

    Args:
        samples: which images.
        fit: (height, width) in pixels that they are stretched to, or how a model sees images.
        cache_dir: the store lies in its folder ``pixels``.
        limits: a larger image, and one that takes too much time or memory, counts as unreadable.
        on_progress: called as images are done.
        pages, bit_depth: as for `read_image`. Both are part of the store's name, as is a framing.
        threads: that decode; None: one for each processor.

    Returns:
        store: uint8 rows of shape (height, width, 3), RGB, by the sample's ``sha256``; small pictures where the model sees tiles.
        unreadable: from the path of each image that can't be read to the reason.
    """
    framing = fit if isinstance(fit, Framing) else Framing.plain(fit)
    size, folder = framing.overview.size, cache_dir / "pixels" / _kind_of(pages, bit_depth, framing)
    store = RowStore(folder, (*size, 3), np.uint8)
    decode = partial(_decode, framing=framing, limits=limits, pages=pages, bit_depth=bit_depth)
    by_content = {sample.sha256: sample for sample in samples}
    todo = [by_content[key] for key in store.missing(by_content)]
    done = len(by_content) - len(todo)
    reasons: dict[str, str] = {}
    with ThreadPoolExecutor(threads or min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        for chunk in _chunks(todo, max(1, CHUNK_BYTES // (size[0] * size[1] * 3))):
            results = pool.map(decode, [sample.path for sample in chunk])
            rows: dict[str, np.ndarray] = {}
            for sample, result in zip(chunk, results, strict=True):
                if isinstance(result, str):
                    reasons[sample.sha256] = result
                else:
                    rows[sample.sha256] = result
                done += 1
                if on_progress is not None:
                    on_progress(done, len(by_content))
            if rows:
                store.append(list(rows), np.stack(list(rows.values())))
    return store, {str(sample.path): reasons[sample.sha256] for sample in samples if sample.sha256 in reasons}


def _chunks(samples: list[Sample], length: int) -> Iterator[list[Sample]]:
    return (samples[start : start + length] for start in range(0, len(samples), length))


def _kind_of(pages: Pages, bit_depth: int | None, framing: Framing) -> str:
    """Return the name of the stores of images that are read in this way."""
    bits = f"-{bit_depth}bit" if bit_depth else ""
    seen = f"-{framing.key}" if framing.key else ""
    return f"v{DECODER_VERSION}{'-first' if pages == 'first' else ''}{bits}{seen}"


def _decode(
    path: Path, framing: Framing, limits: Limits, pages: Pages, bit_depth: int | None
) -> np.ndarray | str:
    try:
        if framing.tiles:
            with opened_large(path, framing, limits, pages=pages, bit_depth=bit_depth) as large:
                return large.overview()
        return read_image(path, framing, limits, pages=pages, bit_depth=bit_depth)
    except ImageError as error:
        return str(error).removeprefix(f"{path}: ")
