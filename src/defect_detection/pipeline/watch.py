"""How long work tells what it is doing, without knowing who watches."""

from collections.abc import Mapping
from typing import Protocol


class Watch(Protocol):
    """Is called as work goes on.

    task: what is under way ("training frozen_compact"); phase: which part of it; done and total: how far, in images, epochs or
    steps; metrics: the latest figures, if there are any.
    """

    def __call__(
        self, task: str, phase: str, done: int, total: int, metrics: Mapping[str, float] | None = None
    ) -> None: ...


def unwatched(
    task: str, phase: str, done: int, total: int, metrics: Mapping[str, float] | None = None
) -> None:
    """Watch nothing."""
