"""Show progress: bars in a terminal, otherwise a few plain lines."""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from defect_detection.processes.messages import Message, written
from defect_detection.processes.watch import Watch

_SILENCE_S = 60  # at most, where there is no terminal


@contextmanager
def bars() -> Iterator[Watch]:
    """Provide a `Watch` that shows a bar per task on standard error. Ctrl-C always works meanwhile."""
    with _ctrl_c() as end_if_asked, _shown() as show:

        def watch(*progress: Any, **more: Any) -> None:
            end_if_asked()
            show(*progress, **more)

        yield watch


@contextmanager
def _ctrl_c() -> Iterator[Callable[[], None]]:
    """Provide a function that raises KeyboardInterrupt again after Ctrl-C, because a library may have dropped the first one.

    Keras drops every exception while it reads a loss. The training would then continue.
    """
    asked = False

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.default_int_handler(number, frame)

    def end_if_asked() -> None:
        if asked:
            raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored, as behind `nohup`
        yield end_if_asked
        return
    signal.signal(signal.SIGINT, remember)
    try:
        yield end_if_asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _shown() -> Iterator[Watch]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    columns = (
        TextColumn("{task.description:<26}", markup=False),
        BarColumn(24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
    )
    # Where standard output is a file or a pipe, it stays so: rich would send it to the terminal too.
    with Progress(*columns, console=console, redirect_stdout=sys.stdout.isatty()) as progress:
        yield _bar_per_task(progress)


def _bar_per_task(progress: Progress) -> Watch:
    known: dict[str, TaskID] = {}

    def watch(
        task: str, phase: str, done: int, total: int, metrics: Mapping[str, float] | None = None
    ) -> None:
        if task not in known:
            known[task] = progress.add_task(task, total=total, note="")
        note = f"{phase}  {_brief(metrics)}" if metrics else phase
        progress.update(known[task], completed=done, total=total, note=note)

    return watch


def _lines() -> Watch:
    """Write one line per finished phase, and one per minute in between."""
    told = time.monotonic()

    def watch(
        task: str, phase: str, done: int, total: int, metrics: Mapping[str, float] | None = None
    ) -> None:
        nonlocal told
        if done == total or time.monotonic() - told >= _SILENCE_S:
            told = time.monotonic()
            text = f"{task}: {phase} {done}/{total} {_brief(metrics)}".rstrip()
            print(written(Message(text, done=done, total=total)), file=sys.stderr, flush=True)

    return watch


def _brief(metrics: Mapping[str, float] | None) -> str:
    return " ".join(f"{name} {value:.3f}" for name, value in (metrics or {}).items())
