"""A copy of a store on a disk without any room: run in a mount namespace of its own, see test_rollback.py."""

import shutil
import sys
from pathlib import Path

from defect_detection.config import load_config
from defect_detection.tracking.fetch import fetch_apart
from defect_detection.tracking.registry import Registry, kept_at
from defect_detection.use_cases.by_hand import rollback
from defect_detection.use_cases.history import history


def fill(folder: Path) -> None:
    """Leave not one byte of room."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (2**20, 2**10, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass


def main(root: Path, store: Path) -> None:
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


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
