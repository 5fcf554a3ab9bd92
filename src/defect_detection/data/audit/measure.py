"""Measure each image once: size on disk, brightness, sharpness, information, a perceptual hash, a thumbnail and its look.

All but the size is measured on the image as the model sees it, so nothing is decoded for the audit alone. Brightness is
CleanVision's, the hash ImageHash's.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from defect_detection.data.bounds import DEFAULT_LIMITS, Limits
from defect_detection.data.cache import RowStore
from defect_detection.data.images import largest_value, read_header
from defect_detection.data.reference import LOOK, look_of
from defect_detection.data.samples import Sample
from defect_detection.processes.watch import OnProgress

THUMBNAIL = 64  # px, a side
HASH_SIDE = 16  # bits, a side
_VERSION = 3  # raise it when a figure changes
_SEEN_OF_14_BITS = 64  # gray levels of 8 bits below which the values of 14 in 16 bits come out
_CHUNK = 128  # images in memory at a time
_MOST_THREADS = 8

MEASURED = np.dtype(
    [
        ("width", "<u4"),  # px, on disk, upright
        ("height", "<u4"),
        (
            "bits",
            "u1",
        ),  # that the values of a 16-bit file use, where they are few: see `_bits_used`; 0 of other files
        ("darkest", "<f4"),  # brightness, 0 to 1, that 5 % of the pixels don't reach
        ("brightest", "<f4"),  # brightness, 0 to 1, that 99 % of the pixels don't exceed
        ("sharpness", "<f4"),  # logarithm of the variance of the Laplacian in gray levels²
        ("entropy", "<f4"),  # bits of the gray levels
        ("hash", "u1", (HASH_SIDE * HASH_SIDE // 8,)),
        ("thumbnail", "u1", (THUMBNAIL, THUMBNAIL)),  # gray
        ("look", LOOK),  # the figures that `reference` compares
    ]
)


def measured(
    samples: Sequence[Sample],
    pixels: RowStore,
    cache_dir: Path,
    on_progress: OnProgress | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> np.ndarray:
    """Measure the images that weren't measured before.

    Args:
        samples: images that can be read.
        pixels: holds them decoded, see `defect_detection.data.pixels.decoded`.
        cache_dir: the figures are kept in its folder ``audit``, by content.
        on_progress: called as images are done.

    Returns:
        array of shape (n_samples,) of type `MEASURED`.
    """
    side = "x".join(map(str, dict.fromkeys(pixels.shape[:2])))
    folder = cache_dir / "audit" / f"v{_VERSION}-{pixels.folder.name}-{side}"
    store = RowStore(folder, (MEASURED.itemsize,), np.uint8)
    by_content = {sample.sha256: sample for sample in samples}
    todo = [by_content[key] for key in store.missing(by_content)]
    known = len(by_content) - len(todo)
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as threads:
        for start in range(0, len(todo), _CHUNK):
            chunk = todo[start : start + _CHUNK]
            keys = [sample.sha256 for sample in chunk]
            rows = list(
                threads.map(
                    partial(_measure, limits=limits), [sample.path for sample in chunk], pixels.rows(keys)
                )
            )
            store.append(keys, np.array(rows, MEASURED).view(np.uint8).reshape(len(rows), -1))
            if on_progress is not None:
                on_progress(known + start + len(chunk), len(by_content))
    return store.rows([sample.sha256 for sample in samples]).view(MEASURED).reshape(-1)


def _measure(path: Path, pixels: np.ndarray, limits: Limits) -> tuple[object, ...]:
    import imagehash  # these two load pandas and matplotlib
    from cleanvision.issue_managers.image_property import calc_entropy, calc_percentile_brightness

    gray = Image.fromarray(pixels).convert("L")
    is_gray = bool((pixels == pixels[..., :1]).all())
    darkest, brightest = calc_percentile_brightness(gray if is_gray else Image.fromarray(pixels), [5, 99])
    return (
        *_size_and_bits(path, pixels, limits),
        darkest,
        brightest,
        _sharpness(np.asarray(gray)),
        calc_entropy(gray),
        np.packbits(imagehash.phash(gray, hash_size=HASH_SIDE).hash),
        np.asarray(gray.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)),
        look_of(pixels),
    )


def _size_and_bits(path: Path, pixels: np.ndarray, limits: Limits) -> tuple[int, int, int]:
    """Return width, height and `bits`. Only an image that is nearly black or white all over is decoded for it."""
    header = read_header(path)
    if not header.holds_16_bits:
        return header.width, header.height, 0
    is_suspicious = pixels.max() < _SEEN_OF_14_BITS or pixels.min() >= 256 - _SEEN_OF_14_BITS
    return header.width, header.height, largest_value(path, limits).bit_length() if is_suspicious else 16


def _sharpness(gray: np.ndarray) -> float:
    """Return the logarithm of the variance of the Laplacian, plus 1 so that a flat image has 0."""
    v = gray.astype(np.int16)
    laplacian = v[:-2, 1:-1] + v[2:, 1:-1] + v[1:-1, :-2] + v[1:-1, 2:] - 4 * v[1:-1, 1:-1]
    return float(np.log1p(laplacian.var()))
