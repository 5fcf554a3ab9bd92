"""End processes with all that they started, and lower their priority."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

NICENESS = 10  # added to our own, so that inspections keep the processor
GRACE_S = 5.0  # that what a dead server left behind gets to end by itself
LOOK_S = 0.05  # between two looks at what is left
KILL_S = 5.0  # after which a process that was killed and still runs is left
JOB_VARIABLE = "DEFECT_JOB_ID"  # in the environment of all processes of a job, by which they are known


def end_processes_of(job_id: str) -> tuple[int, list[int]]:
    """End our processes that carry the mark of a job. Return how many there were, and the ids of those that could not be ended.

    A mark belongs to one job, whereas a process id may be given anew. It is looked for in ``/proc``: elsewhere than on Linux
    nothing is found. Processes are asked first, so that a training can close its MLflow run.
    """
    found = left = _processes_of(job_id)
    for number, seconds in ((signal.SIGINT, GRACE_S), (signal.SIGKILL, KILL_S)):
        end = time.monotonic() + seconds
        asked: set[int] = set()
        while left and time.monotonic() < end:
            for pid in left - asked:
                _signal(pid, number)
            asked |= left
            time.sleep(LOOK_S)
            left = _processes_of(job_id)
    return len(found), sorted(left)


def _processes_of(job_id: str) -> set[int]:
    return {pid for pid, mark in _marks().items() if mark == job_id}


def _marks() -> dict[int, str]:
    """Return the mark of each process of this user that has one and still runs. One that is only waited for has no environment.

    Processes of other users are left alone: anybody can set the variable.
    """
    start = f"{JOB_VARIABLE}=".encode()
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if folder.stat().st_uid != os.geteuid() or int(folder.name) == os.getpid():
                continue
            for entry in (folder / "environ").read_bytes().split(b"\0"):
                if entry.startswith(start):
                    found[int(folder.name)] = entry.removeprefix(start).decode(errors="replace")
    return found


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def end_group(process: subprocess.Popen[bytes], grace_s: float) -> None:
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


def lower_priority(session: int) -> None:
    """Leave the processor to this process. A Linux that schedules by sessions weighs a session first, its processes after."""
    niceness = min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
    os.setpriority(os.PRIO_PGRP, session, niceness)
    with suppress(OSError):  # another system, or a Linux that doesn't
        Path(f"/proc/{session}/autogroup").write_text(str(niceness), encoding="ascii")
