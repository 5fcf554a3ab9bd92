"""A pool of processes that decode slow images, started on first use. They run `decoder_process`."""

import atexit
import io
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from pathlib import Path
from time import monotonic
from typing import Any

from defect_detection.data.bounds import Allowance, Limits
from defect_detection.errors import ImageError
from defect_detection.processes.python_path import python_path

MOST_PROCESSES = 4
ASK_EVERY_S = 0.1  # whether the result is still wanted
WAIT_FACTOR, WAIT_S = 10, 30  # how much longer than its processor time a process is waited for
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "1048576",
}  # releases memory immediately

_RESULTS = {  # that an answer may hold: a process that decodes a hostile file isn't trusted with others
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy", "dtype"),
    ("defect_detection.data.extent", "Box"),
    ("defect_detection.data.extent", "Extent"),
    ("defect_detection.data.images", "Page"),
    ("defect_detection.data.images", "Header"),
}


class DecoderPool:
    """Gives each job a process that is idle, first come, first served."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: list[_Decoder] = []
        self._busy = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    def ask(
        self,
        work: Callable[..., Any],
        source: Path | bytes,
        limits: Limits,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        allowance: Allowance,
        name: str,
    ) -> Any:
        """Return the result of `work` on a file, in a process with limits.

        Args:
            name: of the file, for errors.

        Raises:
            ImageError: raised by `work`; or the time or memory limit was exceeded.
        """
        allowance.check()
        allowance.left()
        path = source.absolute() if isinstance(source, Path) else None
        with self._turn(allowance) as decoder:
            seconds = allowance.left()
            job = pickle.dumps((seconds, allowance.memory, path, work, source, limits, args, kwargs))
            answer = decoder.ask(job, seconds, allowance, name)
            result, error, spent_s = _Unpickler(io.BytesIO(answer)).load()
        allowance.spend(spent_s)
        if error is not None:
            raise ImageError(error)
        return result

    @contextmanager
    def _turn(self, allowance: Allowance) -> Iterator["_Decoder"]:
        with self._changed:
            self._wait(allowance)
            self._busy += 1
            decoder = self._idle.pop() if self._idle else None
        try:
            decoder = decoder if decoder and decoder.is_alive() else _Decoder()
            yield decoder
        finally:
            with self._changed:
                self._busy -= 1
                if decoder and decoder.is_alive():
                    self._idle.append(decoder)
                self._changed.notify_all()

    def _wait(self, allowance: Allowance) -> None:
        ticket = object()
        self._waiting.append(ticket)
        try:
            while self._busy >= self._most or self._waiting[0] is not ticket:
                self._changed.wait(ASK_EVERY_S)
                allowance.check()
        finally:
            self._waiting.remove(ticket)
            self._changed.notify_all()

    def close(self) -> None:
        """End the processes that are idle."""
        with self._changed:
            while self._idle:
                self._idle.pop().end()


class _Decoder:
    """One process, and the connection to it."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        module = "defect_detection.data.decoder_process"
        environment = os.environ | ENVIRONMENT | python_path()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  our own module
                [sys.executable, "-P", "-m", module, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, job: bytes, seconds: float, allowance: Allowance, name: str) -> bytes:
        """Send a job and return the result. A process that ends, takes too long or is no longer needed is removed.

        Raises:
            ImageError: it ended, or takes too long.
        """
        until = monotonic() + WAIT_FACTOR * seconds + WAIT_S
        try:
            self._connection.send_bytes(job)
            while not self._connection.poll(ASK_EVERY_S):
                allowance.check()
                if monotonic() > until:
                    self._process.kill()
            return self._connection.recv_bytes()
        except (EOFError, OSError):
            allowance.spend(seconds)
            raise ImageError(f"{name}: {self._why_it_ended(seconds)}") from None
        except BaseException:
            self.end()
            raise

    def _why_it_ended(self, seconds: float) -> str:
        self.end(kill=False)
        if self._process.returncode == -signal.SIGPROF:
            return (
                f"takes more than {seconds:.1f} s of processor time, the limit for a file of this size; save it as a "
                "baseline JPEG, or as a PNG or TIFF with few strips"
            )
        return (
            f"ended the decoding process (exit code {self._process.returncode}): the file needs too much memory or is "
            "damaged"
        )

    def end(self, kill: bool = True) -> None:
        """End the process, and wait for it."""
        self._connection.close()
        if kill:
            self._process.kill()
        try:
            self._process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _RESULTS:
            raise pickle.UnpicklingError(f"unexpected {module}.{name}")
        return super().find_class(module, name)


POOL = DecoderPool(min(MOST_PROCESSES, os.cpu_count() or 1))
atexit.register(POOL.close)
