"""Run a command, and measure its time and the memory of its processes."""

import json
import math
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_INTERVAL_S = 0.1  # between two looks at the memory
_NOT_OURS = ("MLFLOW_TRACKING_URI", "DEFECT_API_KEY", "PYTHONDONTWRITEBYTECODE")


class Unavailable(Exception):  # noqa: N818  not an error: it becomes a row that says why
    """Something can't be measured here; the text says why."""


@dataclass(frozen=True)
class Finished:
    """A command that ended well.

    seconds: wall clock, of the whole process. cpu_s: processor seconds, of the process and all below it that ended.
    peak_bytes: the most resident memory of the process and all below it, summed (pages that they share count once); None where there
    is no /proc.
    """

    seconds: float
    cpu_s: float
    peak_bytes: int | None
    output: str

    def last_json(self) -> dict[str, Any]:
        """Return the object that the command printed as its last line."""
        return dict(json.loads(self.output.strip().splitlines()[-1]))


def run(
    command: Sequence[str | Path],
    folder: Path,
    variables: Mapping[str, str] | None = None,
    expected: Sequence[int] = (0,),
    limit_s: float = math.inf,
) -> Finished:
    """Run a command in a folder, quietly.

    Args:
        variables: of the environment, beside those of this process. The package's sources come first on PYTHONPATH.
        expected: exit codes with which it has ended well.
        limit_s: it is stopped after so many seconds, with all processes below it.

    Raises:
        Unavailable: it can't be started, ended with an error, or was stopped.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started, used = time.perf_counter(), children_cpu_s()
        try:
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=folder,
                env=environment(variables),
                stdout=output,
                stderr=errors,
            )
        except OSError as error:
            raise Unavailable(f"{command[0]} can't be started ({error.strerror})") from error
        peak = _watch(process, limit_s)
        seconds = time.perf_counter() - started
        output.seek(0)
        errors.seek(0)
        if process.returncode not in expected:
            raise Unavailable(reason(errors.read() or output.read(), process.returncode))
        return Finished(seconds, children_cpu_s() - used, peak, output.read())


def children_cpu_s() -> float:
    """Return the processor seconds of all children that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what a command finds in its environment."""
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
    return inherited | {"PYTHONPATH": str(ROOT / "src")} | dict(variables or {})


def _watch(process: "subprocess.Popen[bytes]", limit_s: float) -> int | None:
    """Wait for the process, so many seconds at most; return the peak of its tree's memory.

    A sum counts when two looks in a row see it: a child that is just being started can show all of its parent's pages once more.
    What one process held at its highest, the system has noted itself.
    """
    peak, before, deadline = 0, 0, time.perf_counter() + limit_s
    try:
        while process.poll() is None and time.perf_counter() < deadline:
            total, highest = tree_bytes(process.pid)
            peak, before = max(peak, highest, min(before, total)), total
            try:
                process.wait(_INTERVAL_S)
            except subprocess.TimeoutExpired:
                continue
    finally:
        if late := process.poll() is None:  # after Ctrl-C as well, nothing goes on running
            _end(tree(process.pid))
            process.wait()
    if late:
        raise Unavailable(f"not finished after {limit_s:.0f} s")
    return peak or None


def _end(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # ended in between
            os.kill(pid, signal.SIGKILL)


def tree_bytes(root: int) -> tuple[int, int]:
    """Return the resident bytes of a process and all its descendants, and the most that one of them ever held; 0 without /proc."""
    pids = tree(root)
    held = [_held_bytes(pid) for pid in pids]
    total = held[0][0] if len(pids) == 1 else sum(_share_bytes(pid) for pid in pids)
    return total, max(highest for _, highest in held)


def tree_cpu_s(root: int) -> float:
    """Return the processor seconds that a process and all its descendants have taken so far; 0 without /proc."""
    ticks = 0
    for pid in tree(root):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # ended in between
            continue
        # user and system, its own and those of children that ended; fields[0] is the state, the third of proc(5)
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else 0.0


def tree(root: int) -> set[int]:
    """Return a process and all its descendants; only itself without /proc."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # ended in between
            continue
    tree = {root}
    while more := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= more
    return tree


def _held_bytes(pid: int) -> tuple[int, int]:
    """Return the resident bytes of a process, now and at their highest."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
    return int(values.get("VmRSS", 0)) * 1024, int(values.get("VmHWM", 0)) * 1024


def _share_bytes(pid: int) -> int:
    """Return a process's resident bytes, those that it shares with others only in part: the sum counts each once (PSS)."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def reason(text: str, code: int) -> str:
    """Return the line of what a command printed that says best why it failed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("Error:", "ERROR:")) or "Error: " in line[:60]]
    message = (errors or lines or ["no message"])[-1]
    return f"{message.replace(f'{ROOT}/', '')[:300]} (exit code {code})"
