"""Run a retraining in a separate process: one at a time, at lower priority, with a time limit.

The caller waits for it, or a job does: see `defect_detection.serving.worker`.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from types import MappingProxyType
from typing import IO

from filelock import FileLock, Timeout

from defect_detection.config import Config
from defect_detection.errors import BusyError
from defect_detection.processes.ending import JOB_VARIABLE, end_group, lower_priority
from defect_detection.processes.messages import READ_BY_A_PROGRAM, error_of, read_all, texts_of
from defect_detection.records.jobs import HowToRetrain
from defect_detection.serving.outcome import RetrainingOutcome

SCRIPT = Path("re_train") / "re_train.py"
SETTINGS = SCRIPT.with_suffix(
    ".yaml"
)  # of a project without the script, which has the same from the command line
LOCK_NAME = ".retrain.lock"  # in the root; a retraining holds it, whoever started it
COPY_BYTES = 1024 * 1024  # at a time; no line is longer
MAX_OUTPUT_BYTES = 64 * 1024  # of each stream that go into an answer: its end
LOOK_EVERY_S = 0.5  # whether the retraining is to be ended
DECISION_CODES = (1, 2)  # hold, insufficient evidence; 0: promote
WAITS = "evaluation.gate.promote_at_once=false"
CANCELLED = "it was cancelled"
LOST = "another process considered it dead and marked it as failed"

log = logging.getLogger(__name__)


class _Copy:
    """Copies what a process writes to several files into one log, by whole lines, as often as `lines` is called."""

    def __init__(self, log: IO[bytes], sources: Sequence[IO[bytes]]) -> None:
        self._log = log
        self._reached = {source.fileno(): 0 for source in sources}

    def lines(self) -> None:
        for source in self._reached:
            self._copy(source, lambda found: found.rfind(b"\n") + 1)
        self._log.flush()

    def rest(self) -> None:
        for source in self._reached:
            self._copy(source, len)

    def _copy(self, source: int, until: Callable[[bytes], int]) -> None:
        # Not by seek and read: the process shares the place of the file
        while found := os.pread(source, COPY_BYTES, self._reached[source]):
            end = until(found)
            if not end:
                return
            self._log.write(found[:end])
            self._reached[source] += end


@dataclass(frozen=True, slots=True)
class RetrainingPlace:
    """Where and how a product is retrained: its folder, environment variables that name its settings, arguments of its script."""

    root: Path
    environment: Mapping[str, str]
    arguments: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: Config, how: HowToRetrain) -> "RetrainingPlace":
        arguments = () if how.start_from is None else ("--start-from", how.start_from)
        return cls(config.root, config.for_children_with(*([] if how.promotes else [WAITS])), arguments)


class Retraining:
    """The one retraining that may run at a time.

    Args:
        root: folder of the plant, which has the lock, and the script of the default product.
        timeout_s: after this many seconds the retraining is ended.
        environment: variables that a retraining of the default product gets besides the server's own.
        grace_s: seconds that it gets to end by itself after each of SIGINT and SIGTERM, before SIGKILL.
    """

    def __init__(
        self,
        root: Path,
        timeout_s: float,
        grace_s: float = 5.0,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._root = root
        self._default = RetrainingPlace(root, environment)
        self._timeout_s = timeout_s
        self._grace_s = grace_s
        self._one_at_a_time = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()

    @classmethod
    def of(cls, config: Config) -> "Retraining":
        """Return the retraining of a project, which has the settings of this process."""
        return cls(config.root, config.serving.retrain_timeout_s, environment=config.for_children)

    def run(
        self,
        job_id: str = "",
        log_file: Path = Path(os.devnull),
        why_end: Callable[[], str | None] = lambda: None,
        place: RetrainingPlace | None = None,
    ) -> RetrainingOutcome:
        """Run the script as `run_job` does, for a caller who wants stdout and stderr apart; the file gets both, line by line.

        Raises:
            BusyError: a retraining is running, started here or by another process.
        """
        with self._alone(), log_file.open("wb") as log, TemporaryFile() as stdout, TemporaryFile() as stderr:
            copy = _Copy(log, (stdout, stderr))

            def look() -> str | None:
                copy.lines()
                return why_end()

            outcome = self._run_script(stdout, stderr, job_id, look, place or self._default)
            copy.rest()
            return outcome

    def run_job(
        self,
        job_id: str,
        log_file: Path,
        why_end: Callable[[], str | None],
        place: RetrainingPlace | None = None,
    ) -> RetrainingOutcome:
        """Run the script to its end, or until `why_end` says why not; what it writes goes to a file as it comes.

        Args:
            place: of the product; of the default one when not given.

        Raises:
            BusyError: a retraining is running, started here or by another process.
        """
        with self._alone(), log_file.open("w+b") as output:
            return self._run_script(output, output, job_id, why_end, place or self._default)

    def is_running(self) -> bool:
        """Check whether one runs, started here or by another process."""
        if self._one_at_a_time.locked():
            return True
        try:
            _refuse_while_held(self._root / LOCK_NAME)
        except BusyError:
            return True
        return False

    def stop(self) -> None:
        """End the running retraining, and any that is about to start: the server itself is ending."""
        self._stopping.set()
        if (process := self._process) is not None:
            end_group(process, self._grace_s)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._one_at_a_time.acquire(blocking=False):
            raise BusyError.of("a retraining")
        try:
            _refuse_while_held(self._root / LOCK_NAME)
            yield
        finally:
            self._one_at_a_time.release()

    def _run_script(
        self,
        stdout: IO[bytes],
        stderr: IO[bytes],
        job_id: str,
        why_end: Callable[[], str | None],
        place: RetrainingPlace,
    ) -> RetrainingOutcome:
        started = time.monotonic()
        process = self._start(stdout, stderr, job_id, place)
        ended_early = self._wait_for(process, why_end)
        duration_s = time.monotonic() - started
        said, errors = read_all(_end_of(stdout)), _end_of(stderr)
        texts = texts_of(said), texts_of(read_all(errors))
        outcome = RetrainingOutcome(ended_early, duration_s, *texts, process.returncode, said)
        if ended_early is None:
            outcome = replace(outcome, failure=_failure(process.returncode, outcome.decision, errors))
        log.info(
            "retraining ended after %.1f s: %s", duration_s, outcome.failure or outcome.decision or "success"
        )
        return outcome

    def _start(
        self, stdout: IO[bytes], stderr: IO[bytes], job_id: str, place: RetrainingPlace
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(place.root / SCRIPT)]
        if not (place.root / SCRIPT).is_file():
            command = [
                sys.executable,
                "-m",
                "defect_detection.cli",
                "retrain",
                "--settings",
                str(place.root / SETTINGS),
            ]
        command += place.arguments
        environment = {
            **place.environment,
            **READ_BY_A_PROGRAM,
            JOB_VARIABLE: job_id,
            "PYTHONUNBUFFERED": "1",
        }
        self._process = process = subprocess.Popen(  # noqa: S603  our own script
            command,
            cwd=place.root,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,  # a process group of its own, to be ended as a whole
        )
        lower_priority(process.pid)  # not by preexec_fn, which may deadlock in a server with threads
        log.info("retraining started as process %d", process.pid)
        return process

    def _wait_for(self, process: subprocess.Popen[bytes], why_end: Callable[[], str | None]) -> str | None:
        """Return why the retraining was ended before its end, or None. Afterwards nothing of its process group is left."""
        end = time.monotonic() + self._timeout_s
        try:
            while not self._stopping.is_set() and process.poll() is None:
                if reason := why_end():
                    return reason
                if time.monotonic() >= end:
                    return f"{SCRIPT} took longer than {self._timeout_s:g} s (serving.retrain_timeout_s) and was stopped"
                with suppress(subprocess.TimeoutExpired):
                    process.wait(min(LOOK_EVERY_S, max(0.0, end - time.monotonic())))
        finally:
            end_group(process, self._grace_s)
            self._process = None
        return "the server was stopped, which ended the retraining" if self._stopping.is_set() else None


def _refuse_while_held(lock_file: Path) -> None:
    """Look whether another process is retraining; the one that we start takes the lock itself."""
    try:
        FileLock(lock_file).acquire(blocking=False).lock.release()
    except Timeout:
        raise BusyError.of("a retraining") from None


def _failure(exit_code: int, decision: str | None, errors: str) -> str | None:
    """Return why the script failed, or None: 1 and 2 are also what Python and its libraries end with, without a decision."""
    if exit_code == 0 or (exit_code in DECISION_CODES and decision):
        return None
    if exit_code < 0:
        return f"{SCRIPT} was ended by {signal.Signals(-exit_code).name}"
    return f"{SCRIPT} ended with exit code {exit_code}: {error_of(errors) or 'it wrote no error message'}"


def _end_of(stream: IO[bytes]) -> str:
    """Return the last `MAX_OUTPUT_BYTES` of what was written, and say how much was left out before."""
    left_out = max(0, stream.seek(0, os.SEEK_END) - MAX_OUTPUT_BYTES)
    stream.seek(left_out)
    text = stream.read().decode(errors="replace")
    return f"[{left_out:,} bytes before this are left out]\n{text}" if left_out else text
