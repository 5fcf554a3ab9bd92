"""Decode images for inspection, in threads that run ahead of the model."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from defect_detection.data.bounds import Limits
from defect_detection.data.extent import Extent
from defect_detection.data.images import Pages, read_pages
from defect_detection.data.reference import Camera, camera_of, look_of
from defect_detection.errors import ImageError
from defect_detection.model.card import Card

Source = Path | bytes | np.ndarray


@dataclass(frozen=True)
class Decoded:
    """The pages of an image, uint8 (height, width, 3) RGB each, or none and why it can't be read.

    unlike: of each page, how it is unlike the training images. cameras: its figures of the camera. extents: the pixels that its
        evidence map covers. sizes: (width, height) of each page, upright.
    """

    label: str
    pages: tuple[np.ndarray, ...]
    unlike: tuple[str | None, ...]
    cameras: tuple[Camera, ...]
    extents: tuple[Extent, ...]
    sizes: tuple[tuple[int, int], ...]
    error: str | None
    took_ms: float


def decoded_ahead(
    images: Iterable[Source], decode_one: Callable[[Source, int], Decoded], threads: int
) -> Generator[Decoded, None, None]:
    """Decode in threads, and yield in order; at most three images a thread are under way or waiting."""
    waiting: deque[Callable[[], Decoded]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for index, image in enumerate(images):
            work = partial(decode_one, image, index)
            in_memory = isinstance(image, np.ndarray)  # nothing to decode: a thread would only cost time
            waiting.append(work if in_memory else pool.submit(work).result)
            if len(waiting) >= 3 * threads:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()
    finally:
        pool.shutdown(cancel_futures=True)


def decode(image: Source, index: int, card: Card, limits: Limits, pages: Pages) -> Decoded:
    """Decode one image as the model sees it; `index` names one without a path."""
    started = time.perf_counter()
    found: list[np.ndarray] = []
    sizes: list[tuple[int, int] | None] = []
    extents: list[Extent] = []
    error, framing = None, card.frame
    try:
        if isinstance(image, np.ndarray):
            found = [checked(image, framing.size)]
            sizes, extents = [None], [Extent.whole(framing.size[::-1])]
        else:
            read = read_pages(image, framing, limits, pages=pages, bit_depth=card.bit_depth)
            found = [page.pixels for page in read]
            sizes = [page.size for page in read]
            extents = [page.extent for page in read]
    except ImageError as reason:
        error = str(reason)
    looks = [look_of(pixels) for pixels in found]
    unlike, cameras = tuple(map(card.unlike, looks, sizes)), tuple(map(camera_of, looks))
    label = label_of(image, index)
    took_ms = (time.perf_counter() - started) * 1000
    own = tuple(one or framing.size[::-1] for one in sizes)
    return Decoded(label, tuple(found), unlike, cameras, tuple(extents), own, error, took_ms)


def label_of(image: Source, index: int) -> str:
    """Return what an image is called; `index` names one without a path."""
    return str(image) if isinstance(image, Path) else f"image {index}"


def checked(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if pixels.dtype != np.uint8 or pixels.shape != (*size, 3):
        raise ImageError(
            f"expected a uint8 array of shape ({size[0]}, {size[1]}, 3), RGB, received {pixels.dtype} of shape {pixels.shape}; "
            "`read_image(path, card.frame)` makes one"
        )
    return pixels
