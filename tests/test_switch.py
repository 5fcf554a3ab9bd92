"""A folder and the file that tells of it change together, wherever the process that changes them is killed."""

import subprocess
import sys
from pathlib import Path

from defect_detection.switch import finish, switched

KILLED_AT = """
import os, pathlib, sys
from defect_detection.switch import switched

left = int(sys.argv[2])

def counted(real):
    def call(*arguments, **named):
        global left
        if left == 0:
            os._exit(9)
        left -= 1
        return real(*arguments, **named)
    return call

for name in ("replace", "unlink", "mkdir"):
    setattr(pathlib.Path, name, counted(getattr(pathlib.Path, name)))
os.rmdir, os.unlink = counted(os.rmdir), counted(os.unlink)
root = pathlib.Path(sys.argv[1])
with switched(root / "model", root / "info.txt") as (folder, tell):
    (folder / "weights").write_text("new")
    tell("new")
"""


def state(root: Path) -> tuple[str, str]:
    return (root / "model/weights").read_text(), (root / "info.txt").read_text()


def write(root: Path, content: str) -> None:
    with switched(root / "model", root / "info.txt") as (folder, tell):
        (folder / "weights").write_text(content)
        tell(content)


def test_a_process_killed_at_any_step_leaves_old_and_old_or_new_and_new(tmp_path):
    seen = []
    for step in range(100):
        root = tmp_path / str(step)
        write(root, "old")
        done = subprocess.run([sys.executable, "-c", KILLED_AT, root, str(step)], check=False)
        finish(root / "model", root / "info.txt")
        seen.append(state(root))
        write(root, "newer")
        assert state(root) == ("newer", "newer")
        if done.returncode == 0:
            break
    assert done.returncode == 0
    assert set(seen) == {("old", "old"), ("new", "new")}
