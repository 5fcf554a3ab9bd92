"""Run a retraining in a process of its own: one at a time, at lower priority, never longer than allowed."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from filelock import FileLock, Timeout

from defect_detection.errors import BusyError

SCRIPT = Path("re_train") / "re_train.py"
LOCK_NAME = ".retrain.lock"  # in the root; a retraining holds it, whoever started it
MAX_OUTPUT_BYTES = 64 * 1024  # of each stream that go into an answer: its end
GATE_CODES = (
    1,
    2,
)  # hold, insufficient evidence: no failure where an outcome is said; an uncaught error is 1 too
NICENESS = 10  # added to the server's own, so that inspections keep the processor

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a retraining ended. `failure` says why when it did not succeed."""

    failure: str | None
    duration_s: float
    stdout: str
    stderr: str


class Retraining:
    """The one retraining that may run at a time.

    Args:
        root: folder of config.yaml; the script and the lock lie below it.
        timeout_s: after this many seconds the retraining is ended.
        grace_s: seconds that it gets to end by itself after each of SIGINT and SIGTERM, before SIGKILL.
    """

    def __init__(self, root: Path, timeout_s: float, grace_s: float = 5.0) -> None:
        self._root = root
        self._timeout_s = timeout_s
        self._grace_s = grace_s
        self._one_at_a_time = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()

    def run(self) -> Outcome:
        """Run the script to its end.

        Raises:
            BusyError: a retraining is running, started here or by another process.
        """
        if not self._one_at_a_time.acquire(blocking=False):
            raise _busy()
        try:
            _refuse_while_held(self._root / LOCK_NAME)
            return self._run_script()
        finally:
            self._one_at_a_time.release()

    def stop(self) -> None:
        """End the running retraining, and any that is about to start: the server itself is ending."""
        self._stopping.set()
        if (process := self._process) is not None:
            _end_group(process, self._grace_s)

    def _run_script(self) -> Outcome:
        started = time.monotonic()
        with TemporaryFile() as stdout, TemporaryFile() as stderr:
            failure = self._wait_for(self._start(stdout, stderr), stdout, stderr)
            outcome = Outcome(failure, time.monotonic() - started, _end_of(stdout), _end_of(stderr))
        log.info("retraining ended after %.1f s: %s", outcome.duration_s, failure or "success")
        return outcome

    def _start(self, stdout: IO[bytes], stderr: IO[bytes]) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(self._root / SCRIPT)]
        self._process = process = subprocess.Popen(  # noqa: S603  our own script
            command,
            cwd=self._root,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,  # a process group of its own, to be ended as a whole
        )
        # Not by preexec_fn, which may deadlock in a server with threads. The interpreter is still starting.
        os.setpriority(os.PRIO_PGRP, process.pid, min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS))
        log.info("retraining started as process %d", process.pid)
        return process

    def _wait_for(self, process: subprocess.Popen[bytes], stdout: IO[bytes], stderr: IO[bytes]) -> str | None:
        """Return why the retraining failed, or None. Afterwards nothing of its process group is left."""
        try:
            if not self._stopping.is_set():
                process.wait(self._timeout_s)
        except subprocess.TimeoutExpired:
            return (
                f"{SCRIPT} took longer than {self._timeout_s:g} s (serving.retrain_timeout_s) and was ended"
            )
        finally:
            _end_group(process, self._grace_s)
            self._process = None
        if self._stopping.is_set():
            return "the server was stopped and ended the retraining"
        return _failure(process.returncode, stdout, stderr)


def _busy() -> BusyError:
    return BusyError("a retraining is running already: wait until it ends, then try again")


def _refuse_while_held(lock_file: Path) -> None:
    """Look whether another process is retraining; the one that we start takes the lock itself."""
    try:
        FileLock(lock_file).acquire(blocking=False).lock.release()
    except Timeout:
        raise _busy() from None


def _failure(exit_code: int, stdout: IO[bytes], stderr: IO[bytes]) -> str | None:
    if exit_code == 0 or (exit_code in GATE_CODES and _last_line(stdout).startswith("Outcome: ")):
        return None
    if exit_code < 0:
        return f"{SCRIPT} was ended by {signal.Signals(-exit_code).name}"
    message = _last_line(stderr) or "it wrote no error message"
    return f"{SCRIPT} ended with exit code {exit_code}: {message}"


def _last_line(stream: IO[bytes]) -> str:
    return _end_of(stream).rstrip().rpartition("\n")[2].strip()


def _end_of(stream: IO[bytes]) -> str:
    """Return the last `MAX_OUTPUT_BYTES` of what was written, and say how much was left out before."""
    left_out = max(0, stream.seek(0, os.SEEK_END) - MAX_OUTPUT_BYTES)
    stream.seek(left_out)
    text = stream.read().decode(errors="replace")
    return f"[{left_out:,} bytes before this are left out]\n{text}" if left_out else text


def _end_group(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """End a process and all that it started: asked first, so that a training can close its MLflow run."""
    for gentle in (signal.SIGINT, signal.SIGTERM):
        if process.poll() is None:
            _signal_group(process, gentle)
            with suppress(subprocess.TimeoutExpired):
                process.wait(grace_s)
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # the group is gone (macOS: or only a zombie)
        os.killpg(process.pid, number)
