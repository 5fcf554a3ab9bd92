"""Limit simultaneous large reads of records, so threads stay free for inspection."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from werkzeug.exceptions import ServiceUnavailable

PART = 4  # of the threads one in so many reads records
RETRY_S = 1


class Reads:
    """Limits simultaneous reads, and allows one table beside them, which may take minutes."""

    def __init__(self, threads: int) -> None:
        self._pages = BoundedSemaphore(max(1, threads // PART))
        self._tables = BoundedSemaphore(1)

    @contextmanager
    def page(self) -> Iterator[None]:
        """Hold a place during the block.

        Raises:
            ServiceUnavailable: all places are taken. Waiting would occupy a thread.
        """
        with _held(self._pages):
            yield

    @contextmanager
    def table(self) -> Iterator[None]:
        """Hold the place of a table. Raises as :meth:`page`."""
        with _held(self._tables):
            yield


@contextmanager
def _held(places: BoundedSemaphore) -> Iterator[None]:
    if not places.acquire(blocking=False):
        raise ServiceUnavailable(
            "Too many reads of records at the same time: try again in a moment.",
            retry_after=RETRY_S,
        )
    try:
        yield
    finally:
        places.release()
