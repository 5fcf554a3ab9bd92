"""Identify processes, even if their id was reused, and their owners."""

import getpass
import os
import socket
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path


def place() -> str:
    """Return an identifier of this machine and container, within which process ids are unique."""
    try:
        machine = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{machine} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def started_at(pid: int) -> str | None:
    """Return an identifier that distinguishes a process from earlier and later ones with the same id; None if there is no such
    process.

    On Linux, its start in clock ticks since the machine's own, and that start; elsewhere "", so that only the id counts.
    """
    if not Path("/proc/self/stat").exists():
        return "" if _exists(pid) else None
    try:
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{ticks} {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
    except OSError:
        return None


def _exists(pid: int) -> bool:
    if os.name != "posix":  # Windows would end the process that is asked for
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0


def owner() -> dict[str, str]:
    """Return an identifier of this process, with which `is_dead` later checks whether it still runs."""
    return {"place": place(), "process": str(os.getpid()), "started": started_at(os.getpid()) or ""}


def is_dead(owned_by: Mapping[str, str]) -> bool:
    """Check whether a process of this machine has ended; False for another machine, where this is unknown.

    Args:
        owned_by: an `owner`. Where it lacks its start, the id alone counts.
    """
    pid = owned_by.get("process", "")
    if owned_by.get("place") != place() or not pid.isdecimal():
        return False
    now = started_at(int(pid))
    return now is None or now != owned_by.get("started", now)


def user() -> str:
    """Return the name of who runs this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user id without a name
        return "unknown"


def name_of_owner() -> str:
    """Return `owner` in a few letters, PLACE-PID-START, for the names of files."""
    return _name_of_owner(os.getpid())


@lru_cache
def _name_of_owner(pid: int) -> str:
    return f"{_short(place())}-{pid}-{_short(started_at(pid) or '')}"


def has_ended(name: str) -> bool | None:
    """Check whether the process of a `name_of_owner` has ended; None if this is unknown here."""
    machine, pid, started = name.split("-")
    if machine != _short(place()):
        return None
    now = started_at(int(pid))
    return now is None or _short(now) != started


def _short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:8]
