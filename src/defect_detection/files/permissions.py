"""Check which files may be opened, and set permissions that keep out other users."""

import errno
import os
import stat
from pathlib import Path

_FOR_OWNER_AND_GROUP = 0o770  # less the umask


def regular(path: Path) -> Path:
    """Return the path of a regular file; refuse a pipe, a socket or a device without opening it.

    Raises:
        OSError: it is none, or there is nothing.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "expected a file, received a pipe, a socket or a device", str(path))
    return path


def make_private(folder: Path) -> None:
    """Create a folder that other users of this machine cannot read; an existing folder keeps its permissions."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(_FOR_OWNER_AND_GROUP, exist_ok=True)


def create_private(path: Path) -> int:
    """Create a file that other users of this machine can't read, and return its descriptor, open for writing.

    Raises:
        OSError: it is there already, or can't be made.
    """
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _FOR_OWNER_AND_GROUP & 0o666)
