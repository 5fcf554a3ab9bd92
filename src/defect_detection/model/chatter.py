"""Suppress the informational log lines of the C++ code of TensorFlow and Ray.

Their log lines go straight to the file descriptor of standard error, and ``TF_CPP_MIN_LOG_LEVEL`` does not hold for all of them.
"""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_CHATTER = re.compile(
    rb"^([IW]\d{4} |WARNING: All log messages before absl::InitializeLog|\d{4}-\d\d-\d\d [^ ]+: [IW] |\[\d{4}-[^\]]+ [IW] )"
)


@contextmanager
def without_chatter() -> Iterator[None]:
    """Buffer standard error during the block; afterwards pass on everything except informational log lines."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        sys.stderr.flush()
        real = os.dup(2)
    except (OSError, ValueError, AttributeError):  # a process without standard error
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            os.close(real)
            held.seek(0)
            _pass_on(held.read())


def _pass_on(held: bytes) -> None:
    for line in held.splitlines(keepends=True):
        if not _CHATTER.match(line):
            os.write(2, line)
