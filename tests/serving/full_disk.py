"""A store on a disk without any room: run in a mount namespace of its own, see test_rollback.py."""

import sys
from pathlib import Path

from test_champion import Plant

from defect_detection.config import load_config
from defect_detection.pipeline.history import history
from defect_detection.pipeline.promotion import promote, rollback
from defect_detection.tracking.fetch import fetch_apart
from defect_detection.tracking.registry import kept_at


def fill(folder: Path) -> None:
    """Leave not one byte of room."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (2**20, 2**10, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass


def main(root: Path) -> None:
    plant = Plant(root)
    (root / "config.yaml").write_text("training: {hyperparameter_sets: [{name: only}]}\n")
    config = load_config(root / "config.yaml")
    for version in (plant.version(threshold=0.25), plant.version(threshold=0.75)):
        plant.promote(version)
    promote(config, plant.version(), "by hand")  # its entry says that it followed version 2
    fill(root)
    moved = rollback(config)
    print(moved.after, *moved.notes, sep="\n")
    assert moved.after.version == plant.registry.glance("Production_Reg", "prod").version == 2
    assert not kept_at(moved.after, config.cache_dir).exists()
    assert (fetch_apart(moved.after, config.tracking_uri, config.cache_dir) / "model.xml").is_file()
    (root / "filler").unlink()
    print(*history(config).notes)
    rollback(config, to=2, reason="entered later")
    assert history(config).notes == ()
    newest = history(config).entries[0]
    assert (newest.kind, newest.before, newest.after) == ("rollback", 3, 2)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
