"""Run a command in a forked child that has less than usual: no right of root to read and write all, or no streams."""

import ctypes
import os
import sys

from defect_detection.cli import main

_VERSION = 0x20080522  # of the structures that Linux describes capabilities with
_WITHOUT_READING_ALL = ~0b110  # neither CAP_DAC_OVERRIDE nor CAP_DAC_READ_SEARCH


def bound_by_permissions(arguments: list[str]) -> int:
    """Run the command; permissions hold for it even where the tests run as root."""
    if not os.geteuid():
        libc = ctypes.CDLL(None)
        header = (ctypes.c_uint32 * 2)(_VERSION, 0)  # of this process
        sets = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable; first the lower half of each
        libc.capget(header, sets)
        sets[:3] = [one & _WITHOUT_READING_ALL for one in sets[:3]]
        libc.capset(header, sets)
    return main(arguments)


def without_streams(arguments: list[str]) -> int:
    """Run the command as Python starts where standard output and standard error are closed."""
    os.close(1)
    os.close(2)
    sys.stdout = sys.stderr = None  # type: ignore[assignment]
    return main(arguments)
