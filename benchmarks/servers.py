"""Start a server and wait until it answers; end it, and all that it started, by process id."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Target
from benchmarks.processes import Unavailable, environment, reason, tree, tree_bytes, tree_cpu_s

START_S = 90.0  # within which a server has to answer
END_S = 10.0
_LOOK_S = 0.02


@dataclass(frozen=True)
class Server:
    """A server that answers. ready_s: from the start of its process to the first answer to an image."""

    process: "subprocess.Popen[bytes]"
    ready_s: float

    def resident_bytes(self) -> int | None:
        """Return what it and the processes below it hold, pages that they share once; None where there is no /proc."""
        return tree_bytes(self.process.pid)[0] or None

    def cpu_s(self) -> float:
        """Return the processor seconds that it and the processes below it have taken; 0 where there is no /proc."""
        return tree_cpu_s(self.process.pid)


@contextmanager
def running(
    command: Sequence[str | Path], folder: Path, target: Target, variables: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run a server in a folder during the block; what it prints goes to a file there.

    Raises:
        Unavailable: it ends, or doesn't answer in time.
    """
    log = folder / "server.log"
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait(process, target, log, started + START_S)
        yield Server(process, time.perf_counter() - started)
    finally:
        _end(process)


def _wait(process: "subprocess.Popen[bytes]", target: Target, log: Path, until: float) -> None:
    while problem := target.ask(timeout_s=30):
        if process.poll() is not None:
            raise Unavailable(f"ended: {reason(log.read_text(errors='replace'), process.returncode)}")
        if time.perf_counter() > until:
            raise Unavailable(f"didn't answer within {START_S:.0f} s: {problem}")
        time.sleep(_LOOK_S)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the server by SIGTERM, then what it started and left behind; what doesn't end in time is killed."""
    below = tree(process.pid) - {process.pid}
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_S)
    for pid in below:
        with suppress(OSError):  # ended with its parent
            os.kill(pid, signal.SIGTERM)
    _wait_for_end(below)
    process.kill()
    process.wait()


def _wait_for_end(pids: set[int]) -> None:
    until = time.perf_counter() + END_S
    while time.perf_counter() < until:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return
        time.sleep(_LOOK_S)
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
