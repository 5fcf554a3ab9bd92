"""The progress callback of long work.

Each callback is the one before it with a name bound: ``partial(watch, "training a")`` follows the phases of one task, and
``partial(watch, "reading images", "decoding")`` counts in one phase.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

OnProgress = Callable[[int, int], None]
"""Is called with how much is done, and how much there is in all."""


class Watch(Protocol):
    """Is called as work progresses.

    task: the current work ("training frozen_compact"); phase: its part; done and total: the progress, in images, epochs or
    steps; metrics: the latest figures, if there are any.
    """

    def __call__(
        self, task: str, phase: str, done: int, total: int, metrics: Mapping[str, float] | None = None
    ) -> None: ...


class Follow(Protocol):
    """Is called as one task progresses."""

    def __call__(
        self, phase: str, done: int, total: int, metrics: Mapping[str, float] | None = None
    ) -> None: ...


def unwatched(
    task: str, phase: str, done: int, total: int, metrics: Mapping[str, float] | None = None
) -> None:
    """Ignore the progress."""
