"""A copy of a store on a disk without any room: run in a process of its own, see test_rollback.py."""

import ctypes
import os
import shutil
from pathlib import Path

from defect_detection.config import load_config
from defect_detection.tracking.fetch import fetch_apart
from defect_detection.tracking.registry import Registry, kept_at
from defect_detection.use_cases.by_hand import rollback
from defect_detection.use_cases.history import history

NEW_MOUNTS, NEW_USER = 0x20000, 0x10000000  # flags of unshare(2)


def mount_small(folder: Path) -> None:
    """Mount a disk of 8 MB on the folder, which only this process and its children see.

    Raises:
        OSError: this user may not.
    """
    system, user, group = ctypes.CDLL(None, use_errno=True), os.getuid(), os.getgid()
    _require(system.unshare(NEW_USER | NEW_MOUNTS))
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        Path("/proc/self", name).write_text(text)
    _require(system.mount(b"none", os.fsencode(folder), b"tmpfs", 0, b"size=8m"))


def _require(failed: int) -> None:
    if failed:
        raise OSError(ctypes.get_errno(), "no disk of one's own")


def fill(folder: Path) -> None:
    """Leave not one byte of room."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (2**20, 2**10, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass


def main(root: Path, store: Path) -> int:
    """Return 77 where no disk can be mounted."""
    try:
        mount_small(root)
    except (OSError, AttributeError):  # another system has no such call
        return 77
    shutil.copytree(store, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("cache"))
    config = load_config(root / "config.yaml")
    assert [entry.after for entry in history(config).entries] == [3, 2, 1]
    fill(root)
    moved = rollback(config)
    print(moved.after, *moved.notes, sep="\n")
    assert moved.after.version == Registry(config.tracking_uri).glance("Production_Reg", "prod").version == 2
    assert not kept_at(moved.after, config.cache_dir).exists()
    assert (fetch_apart(moved.after, config.tracking_uri, config.cache_dir) / "model.xml").is_file()
    (root / "filler").unlink()
    print(*history(config).notes)
    rollback(config, to=2, reason="entered later")
    assert history(config).notes == ()
    newest = history(config).entries[0]
    assert (newest.kind, newest.before, newest.after) == ("rollback", 3, 2)
    return 0
