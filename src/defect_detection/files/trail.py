"""Write the audit trail: refusals, keys, changes of production, server starts and access to images."""

import json
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import MappingProxyType

from defect_detection.text import utc_now

FILE = "trail.jsonl"  # beside config.yaml
MAX_BYTES = 5_000_000  # of the file; then it becomes trail.jsonl.1, and so on
EARLIER = 4  # files that are kept
LONGEST = 1000  # characters of a value
COUNTED_S = 60.0  # in which further refusals of a caller are counted
MOST_COUNTED = 100  # callers apart in that time; all others together
OTHERS = "other callers"

log = logging.getLogger(__name__)
_writing = threading.Lock()


def leave(
    root: Path,
    who: str,
    what: str,
    on: str,
    outcome: str,
    times: int = 1,
) -> None:
    """Append a line. Never fails: a line that cannot be written goes to the log.

    Args:
        root: the folder of config.yaml. who: name of a key, address, or user and host.
    """
    leave_all(root, [{"who": who, "what": what, "on": on, "outcome": outcome}], times)


def leave_all(root: Path, lines: Iterable[Mapping[str, str]], times: int = 1) -> None:
    """Append lines together, each with the values that `leave` takes. Never fails."""
    when = {"when": utc_now()}
    file = _TrailFile(root / FILE, maxBytes=MAX_BYTES, backupCount=EARLIER, delay=True)
    with _writing:
        for values in lines:
            text = _text({**when, **values}, {"times": times} if times > 1 else {})
            file.emit(logging.makeLogRecord({"msg": text}))
        with suppress(OSError):  # a full disk: said already
            file.close()


def leave_missing(root: Path, lines: Iterable[Mapping[str, str]]) -> None:
    """Append those lines, each with its value `when`, that are not there: a killed process may have written some. Never fails."""
    missing = {_text(values): values for values in lines}
    for line in read_trail(root):
        missing.pop(_text(line), None)
    leave_all(root, missing.values())


def _text(values: Mapping[str, str], more: Mapping[str, int] = MappingProxyType({})) -> str:
    """Return a line. It is ASCII, so that no control character gets through."""
    return json.dumps({name: str(value)[:LONGEST] for name, value in values.items()} | dict(more))


def read_trail(root: Path) -> Iterator[dict[str, str]]:
    """Yield the lines that are kept, the oldest first. What is no line of ours is left out."""
    files = [root / FILE, *(root / f"{FILE}.{number}" for number in range(1, EARLIER + 1))]
    for path in reversed(files):
        with suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
            for text in file:
                with suppress(ValueError):
                    line = json.loads(text)
                    if isinstance(line, dict):
                        yield line


class _TrailFile(RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding="utf-8", opener=_open_private)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  named by the library
        log.warning("%s cannot be written; the line is: %s", self.baseFilename, record.msg, exc_info=False)


def _open_private(path: str, flags: int) -> int:
    """Open a file for its owner and group. Links and unread pipes are refused."""
    safe = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    return os.open(path, flags | safe, 0o640)


@dataclass(slots=True)
class _RefusalCount:
    since: float
    on: str
    outcome: str
    times: int = 0


class Refusals:
    """Writes a line for the first refusal of a caller, then one per minute with the number of further refusals."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._counted: dict[str, _RefusalCount] = {}
        self._lock = threading.Lock()

    def note(self, who: str, on: str, outcome: str) -> None:
        """Count a refusal."""
        with self._lock:
            now = time.monotonic()
            self._leave_older(now - COUNTED_S)
            caller = who if who in self._counted or len(self._counted) < MOST_COUNTED else OTHERS
            if caller in self._counted:
                counted = self._counted[caller]
                counted.on, counted.outcome, counted.times = on, outcome, counted.times + 1
                return
            self._counted[caller] = _RefusalCount(now, on, outcome)
            leave(self._root, caller, "refused", on, outcome)

    def close(self) -> None:
        """Leave the lines of what was counted."""
        with self._lock:
            self._leave_older(time.monotonic())

    def _leave_older(self, moment: float) -> None:
        for who, one in list(self._counted.items()):
            if one.since <= moment:
                del self._counted[who]
                if one.times:
                    leave(self._root, who, "refused", one.on, one.outcome, one.times)
