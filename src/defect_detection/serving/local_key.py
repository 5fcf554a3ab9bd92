"""The local key: a file that only the owner of the server can read, and page links signed with it.

A user who can read the file may do everything, from this machine only: the command line and scripts send it as a header, and
``defect page`` makes a link with it that opens the page once. The key itself is in no link, no log and no browser.
"""

import hashlib
import hmac
import os
import secrets
import threading
import time
from pathlib import Path

from defect_detection.errors import ConfigError
from defect_detection.files.unfinished import whole_file

FILE = ".defect-key"  # beside config.yaml
LINK_S = 300.0  # that a link may wait for its one use
PAGE_S = 12 * 3600.0  # that the page keeps its rights
_HEADER = "X-API-Key: "  # the file is one header line: with `curl -H @.defect-key` the key appears on no command line
_KEY = "defect_local_"
_LINK = "defect_link_"
_PAGE = "defect_page_"


def make_local_key(root: Path) -> None:
    """Write the file, with a new key, unless there is one that can be used.

    Raises:
        ConfigError: the file that is there is not to be trusted. OSError: it cannot be written.
    """
    path = root / FILE
    if os.path.lexists(path):
        read_local_key(root)
        return
    with whole_file(path) as partial:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{_HEADER}{_KEY}{secrets.token_urlsafe(32)}\n")


def read_local_key(root: Path) -> str:
    """Return the key of this machine.

    Raises:
        ConfigError: the file is missing, belongs to another user, or is readable by others.
    """
    path = root / FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise ConfigError(
            f"{path}: the local key cannot be read ({error.strerror}); the server creates it at its start, and only the "
            "user who runs the server can read it"
        ) from error
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
        if os.name == "posix":
            _check(path, os.fstat(descriptor))
        found = file.read(200).removeprefix(_HEADER).strip()
    if not found.startswith(_KEY) or len(found) < len(_KEY) + 32:
        raise ConfigError(f"{path}: expected the local key, received something else; {_CURE}")
    return found


_CURE = "delete the file and restart the server, which creates a new one"


def _check(path: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise ConfigError(
            f"{path}: expected a file of the user {os.geteuid()}, who runs this command, received a file of the user "
            f"{status.st_uid}; run the command as that user, or {_CURE}"
        )
    if (mode := status.st_mode & 0o7777) & 0o077:
        raise ConfigError(
            f"{path}: expected the mode 0600, received {mode:04o}, so others may have read it; {_CURE}"
        )


def is_of_this_machine(sent: str) -> bool:
    """Check whether a text has the form of the local key or of a key signed with it."""
    return sent.startswith((_KEY, _LINK, _PAGE))


def make_link_code(root: Path, now_s: float | None = None) -> str:
    """Return the one-time code of a page link, which can be exchanged for a key of the page."""
    return _signed(_LINK, read_local_key(root), (now_s or time.time()) + LINK_S)


class LocalKey:
    """Checks the local key and keys signed with it. Reads the file each time, so a new key counts immediately."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._used: dict[str, float] = {}  # links, with the time after which they are void anyway
        self._using = threading.Lock()

    def allows(self, sent: str) -> bool:
        """Check whether a text is the local key, or a valid key of the page.

        Raises:
            ConfigError: the file of the key is not to be trusted.
        """
        key = read_local_key(self._root)
        return hmac.compare_digest(sent.encode(), key.encode()) or _is_signed(_PAGE, key, sent)

    def exchange(self, code: str) -> str | None:
        """Return a key for the page, or None: the code of the link is none, too old, or was used before.

        Raises:
            ConfigError: the file of the key is not to be trusted.
        """
        key, now_s = read_local_key(self._root), time.time()
        if not _is_signed(_LINK, key, code, now_s):
            return None
        with self._using:
            self._used = {one: until for one, until in self._used.items() if until > now_s}
            if code in self._used:
                return None
            self._used[code] = now_s + LINK_S
        return _signed(_PAGE, key, now_s + PAGE_S)


def _signed(kind: str, key: str, until_s: float) -> str:
    text = f"{kind}{until_s:.0f}_{secrets.token_hex(8)}"
    return f"{text}_{_mark(key, text)}"


def _is_signed(kind: str, key: str, sent: str, now_s: float | None = None) -> bool:
    text, _, mark = sent.rpartition("_")
    if not text.startswith(kind) or not hmac.compare_digest(mark.encode(), _mark(key, text).encode()):
        return False
    return float(text.removeprefix(kind).partition("_")[0]) > (now_s or time.time())


def _mark(key: str, text: str) -> str:
    return hmac.new(key.encode(), text.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()
