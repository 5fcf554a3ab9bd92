"""The decoding process: decodes one file at a time within limits, until its parent process ends.

`decoder_pool` starts it as ``python -m defect_detection.data.decoder_process NUMBER``, with the number of its connection.
"""

import pickle
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from defect_detection.data.bounded import opened
from defect_detection.errors import ImageError


def main() -> None:
    """Answer jobs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that the user started
    connection = Connection(int(sys.argv[1]))
    with suppress(EOFError, OSError):
        while True:
            connection.send_bytes(_answer(connection.recv_bytes()))


def _answer(job: bytes) -> bytes:
    """Return the result or the text of the error, with the processor time used."""
    seconds, memory, path, *rest = pickle.loads(job)  # noqa: S301  from the program that started this one
    started = time.process_time()
    result, error = None, None
    try:
        with _limited(seconds, memory):
            result = _decoded(path, *rest)
    except ImageError as reason:
        error = str(reason)
    return pickle.dumps((result, error, time.process_time() - started), pickle.HIGHEST_PROTOCOL)


def _decoded(
    path: Path | None,
    work: Callable[..., Any],
    source: Path | bytes,
    limits: object,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    with opened(path if isinstance(source, Path) and path else source) as file:
        return work(source, file, limits, *args, **kwargs)


@contextmanager
def _limited(seconds: float, memory: int) -> Iterator[None]:
    """Set limits of the operating system on processor time and memory during the block."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if taken := _data_bytes():
        resource.setrlimit(resource.RLIMIT_DATA, (taken + memory, hard))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _data_bytes() -> int:
    """Return the data memory of this process; 0 if unknown."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    except (OSError, ValueError):
        return 0
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main()
