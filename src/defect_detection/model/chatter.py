"""Suppress the informational log lines of the C++ code of TensorFlow and Ray.

Their log lines go straight to the file descriptor of standard error, and ``TF_CPP_MIN_LOG_LEVEL`` does not hold for all of them.
"""

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

_CHATTER = re.compile(
    rb"^([IW]\d{4} |WARNING: All log messages before absl::InitializeLog|\d{4}-\d\d-\d\d [^ ]+: [IW] |\[\d{4}-[^\]]+ [IW] )"
)


class _Holder:
    """Standard error belongs to the process: of blocks in several threads, the first takes it, the last gives it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.blocks = 0  # that are open
        self._kept: tuple[int, IO[bytes]] | None = None  # the real one meanwhile, and what is written instead

    def begin(self) -> None:
        with self._lock:
            self.blocks += 1
            if self.blocks == 1:
                self._take()

    def end(self) -> None:
        with self._lock:
            self.blocks -= 1
            if not self.blocks:
                self._give_back()

    def _take(self) -> None:
        try:
            sys.stderr.flush()
            real = os.dup(2)
        except (OSError, ValueError, AttributeError):  # a process without standard error
            return
        held = tempfile.TemporaryFile()  # noqa: SIM115  closed by _give_back
        os.dup2(held.fileno(), 2)
        self._kept = real, held

    def _give_back(self) -> None:
        if self._kept is None:
            return
        (real, held), self._kept = self._kept, None
        sys.stderr.flush()
        os.dup2(real, 2)
        os.close(real)
        with held:
            held.seek(0)
            _pass_on(held.read())


holder = _Holder()


@contextmanager
def without_chatter() -> Iterator[None]:
    """Buffer standard error during the block; afterwards pass on everything except informational log lines."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    holder.begin()
    try:
        yield
    finally:
        holder.end()


def _pass_on(held: bytes) -> None:
    for line in held.splitlines(keepends=True):
        if not _CHATTER.match(line):
            os.write(2, line)
