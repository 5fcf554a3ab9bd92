"""Make a folder once for all processes of a test run (pytest-xdist starts several)."""

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock

Made = TypeVar("Made")


def once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder `name`, which `make` fills in the first process that asks; the others wait for it."""
    base = of_all_processes(tmp_path_factory)
    folder, made = base / name, base / f"{name}.made"
    with FileLock(base / f"{name}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a process left that failed
            folder.mkdir(parents=True)
            make(folder)
            made.touch()
    return folder


def made_once(
    tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]
) -> tuple[Path, Made]:
    """Do the same where `make` also returns something: return the folder, and a copy of that."""

    def keep(folder: Path) -> None:
        (folder / "made.pickle").write_bytes(pickle.dumps(make(folder)))

    folder = once(tmp_path_factory, name, keep)
    return folder, pickle.loads((folder / "made.pickle").read_bytes())


def of_all_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a test run, which all its processes share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
