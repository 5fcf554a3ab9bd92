"""A folder and its text file change together, wherever the process is killed."""

from pathlib import Path

from killed import killed_at

from defect_detection.files.switch import finish, switched

SWITCH = """
from defect_detection.files.switch import switched

for name in ("replace", "unlink", "mkdir"):
    setattr(pathlib.Path, name, counted(getattr(pathlib.Path, name)))
os.rmdir, os.unlink = counted(os.rmdir), counted(os.unlink)
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
        was_killed = killed_at(step, root, SWITCH)
        finish(root / "model", root / "info.txt")
        seen.append(state(root))
        write(root, "newer")
        assert state(root) == ("newer", "newer")
        if not was_killed:
            break
    assert not was_killed
    assert set(seen) == {("old", "old"), ("new", "new")}
