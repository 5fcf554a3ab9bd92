"""Commands run with fewer rights than the tests have: root may do anything, whatever the permissions are."""

import os
import shutil

import pytest

_READING = "dac_override,dac_read_search"


def bound_by_permissions() -> list[str]:
    """Return what to put before a command, so that permissions hold for it even where the tests run as root."""
    if os.name != "posix":
        pytest.skip("permissions are those of POSIX systems")
    return [] if os.geteuid() else [_setpriv(), f"--bounding-set=-{_READING.replace(',', ',-')}"]


def without_a_name() -> list[str]:
    """Return what to put before a command that runs as a user without an entry in passwd, who may read all files."""
    if os.name != "posix" or os.geteuid():
        pytest.skip("only root can become another user")
    caps = f"+{_READING.replace(',', ',+')}"
    return [_setpriv(), "--reuid=12345", "--clear-groups", f"--inh-caps={caps}", f"--ambient-caps={caps}"]


def _setpriv() -> str:
    return shutil.which("setpriv") or pytest.skip("there is no setpriv")
