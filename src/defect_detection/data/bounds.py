"""Limits of decoding: how large an image may be, and how much time and memory it may take."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from defect_detection.errors import ImageError

if TYPE_CHECKING:
    from defect_detection.config.sections import DataConfig

MAX_PIXELS = 25_000_000
MAX_SIDE = 16_384
SECONDS = 1.5  # of one core, for a file of 1 MB
SECONDS_PER_MB = 1.0  # for each MB more
MOST_SECONDS = 10.0
MEMORY_BYTES = 250_000_000
MEMORY_PER_BYTE = 4  # for each byte of a file beyond 1 MB


class Allowance:
    """The processor time that the images of one request, or one file, may take to decode. Threads may share it.

    Args:
        n_bytes: of the request or the file.
        limits: larger images than usual may take more.
        check: is called now and then during decoding; it raises if the result is no longer wanted.
    """

    def __init__(self, n_bytes: int, limits: "Limits", check: Callable[[], None] = lambda: None) -> None:
        beyond, larger = max(0, n_bytes - 1_000_000), max(1.0, limits.pixels / MAX_PIXELS)
        self.seconds = min(SECONDS + SECONDS_PER_MB * beyond / 1e6, MOST_SECONDS) * larger
        self.memory = round((MEMORY_BYTES + MEMORY_PER_BYTE * beyond) * larger)
        self.check = check
        self._spent = 0.0
        self._lock = threading.Lock()

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            ImageError: none is.
        """
        if (left := self.seconds - self._spent) <= 0:
            raise ImageError(
                f"not decoded: the earlier images used all of the {self.seconds:.1f} s of processor time allowed for a request of "
                "this size; send fewer images per request"
            )
        return left

    def spend(self, seconds: float) -> None:
        """Count time that was taken."""
        with self._lock:
            self._spent += seconds

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Count the time that the block takes in this thread.

        Raises:
            ImageError: no time is left.
        """
        self.left()
        started = time.thread_time()
        try:
            yield
        finally:
            self.spend(time.thread_time() - started)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on the size of an image and on its decoding. allowance: None for a separate one per file.

    pixels: width * height. side: width or height.
    """

    pixels: int = MAX_PIXELS
    side: int = MAX_SIDE
    allowance: Allowance | None = None

    @classmethod
    def of(cls, data: "DataConfig") -> "Limits":
        """Return the limits of a configuration."""
        return cls(data.max_pixels, data.max_side)

    def why_too_large(self, width: int, height: int, left: int | None = None) -> str | None:
        """Return why a size is too large, or None.

        Args:
            left: pixels, where pages before it took some.
        """
        if max(width, height) > self.side:
            return f"expected at most {self.side} px per side (data.max_side), received {width} x {height}"
        if width * height > (self.pixels if left is None else left):
            return f"expected at most {self.pixels} pixels (data.max_pixels), received {width} x {height}"
        return None


DEFAULT_LIMITS = Limits()
