"""Moves of images and their index: all of a change is done, or nothing."""

import errno
import json
import subprocess
import sys

import pytest
from killed import killed_at
from other_user import bound_by_permissions

from defect_detection.data import whole_changes
from defect_detection.data.index_edit import Indexes, KeptIndexes, with_part
from defect_detection.data.whole_changes import JOURNAL, Change, _journal, alone, carry_out, finish_changes
from defect_detection.errors import DataError
from defect_detection.files.trail import read_trail
from defect_detection.files.unfinished import write_text


@pytest.fixture
def moved(tmp_path):
    """Return a root with an image in unlabelled, and the change that labels it and writes an index."""
    old, new = tmp_path / "data/unlabelled/a.png", tmp_path / "data/train/ok/a.png"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"image")
    index = tmp_path / "data/train/index.csv"
    return tmp_path, Change([(old, new)], {index: "file,group\nok/a.png,7\n"}, [], [old.parent]), new, index


def test_a_change_that_was_killed_after_its_journal_is_finished_by_who_comes_next(moved, monkeypatch):
    root, change, new, index = moved
    with monkeypatch.context() as killed:
        killed.setattr(whole_changes, "_finish", lambda *_: None)
        carry_out(root, change)
    assert (not new.exists(), (root / "data" / JOURNAL).exists()) == (True, True)
    finish_changes(root)
    assert (new.read_bytes(), index.read_text()) == (b"image", "file,group\nok/a.png,7\n")
    assert sorted(path.name for path in (root / "data").iterdir()) == [".images.lock", "train"]
    finish_changes(root)


@pytest.mark.parametrize("written", [0, 1])  # files, before the disk is full
def test_a_full_disk_leaves_everything_as_it_was(moved, monkeypatch, written):
    root, change, new, _ = moved
    before = sorted(root.rglob("*"))
    real, left = whole_changes.write_text, [None] * written

    def full(path, text):
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        left.pop()
        real(path, text)

    monkeypatch.setattr(whole_changes, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        carry_out(root, change)
    assert sorted(root.rglob("*")) == before
    assert not new.exists()


def test_a_lock_is_for_one(tmp_path):
    with alone(tmp_path):
        assert (tmp_path / "data/.images.lock").exists()


def test_rows_move_between_indexes_with_columns_of_others_and_masks(tmp_path):
    train, test = tmp_path / "data/train", tmp_path / "data/test"
    for folder in (train, test):
        folder.mkdir(parents=True)
    (train / "index.csv").write_text(
        "file;label;group;mask;camera\nok\\A.png;1;;m/a.png;left\nb.png;ok;7;;\n"
    )
    indexes = Indexes([train, test])
    cells = indexes.take(train / "ok/a.png")
    assert (cells["camera"], cells["mask"]) == ("left", str(train / "m/a.png"))
    indexes.put(test / "scratch/a.png", with_part(cells, "=9") | {"label": ""})
    texts = indexes.texts()
    assert texts[train / "index.csv"] == "file;label;group;mask;camera\nb.png;ok;7;;\n"
    assert texts[test / "index.csv"] == "file,group,mask,camera\nscratch/a.png,'=9,../train/m/a.png,left\n"


def test_a_new_file_with_the_name_of_a_moved_one_stays_when_the_change_is_finished(moved):
    root, change, new, _ = moved
    carry_out(root, change)
    old = change.moves[0][0]
    old.parent.mkdir()
    old.write_bytes(b"another")
    write_text(root / "data" / JOURNAL, json.dumps(_journal(root, change)))  # as if killed at the very end
    finish_changes(root)
    assert (new.read_bytes(), old.read_bytes()) == (b"image", b"another")


@pytest.mark.parametrize(
    "text", ["{broken", "[]", '{"moves": [["data/a", "../b"]], "texts": [], "removed": [], "emptied": []}']
)
def test_a_journal_that_is_damaged_or_leads_out_is_refused_by_its_name(tmp_path, text):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / JOURNAL).write_text(text)
    with pytest.raises(DataError, match=f"{JOURNAL}: .* delete it"):
        finish_changes(tmp_path)


KILLED = """
from pathlib import Path
from defect_detection.data.whole_changes import Change, alone, carry_out
from defect_detection.files import trail
from defect_detection.files.trail import read_trail
from defect_detection.files.unfinished import write_text

Path.replace, Path.unlink, trail._TrailFile.emit = (counted(one) for one in (Path.replace, Path.unlink, trail._TrailFile.emit))
data = root / "products/bolt/data"
lines = [{"when": "2026", "on": name, "what": "image labelled"} for name in ("a", "b")]
moves = [(data / "unlabelled" / name, data / "train/ok" / name) for name in ("a", "b")]
with alone(data.parent):
    carry_out(data.parent, Change(moves, {data / "train/index.csv": "new"}, lines=lines, is_of_plant=False))
"""


@pytest.mark.parametrize("step", [3, 6])  # before the second move; between the two lines
def test_a_process_that_is_killed_leaves_no_change_without_its_line(tmp_path, step):
    data = tmp_path / "products/bolt/data"
    for name in ("a", "b"):
        (data / "unlabelled").mkdir(parents=True, exist_ok=True)
        (data / "unlabelled" / name).write_text(name)
    assert killed_at(step, tmp_path, KILLED)
    assert len(list(read_trail(tmp_path))) == step // 6
    finish_changes(data.parent)
    assert sorted(path.name for path in (data / "train").rglob("*")) == ["a", "b", "index.csv", "ok"]
    assert [line["on"] for line in read_trail(tmp_path)] == ["a", "b"]


def test_an_index_that_is_kept_in_memory_is_read_again_once_another_program_has_changed_it(tmp_path):
    index, kept = tmp_path / "index.csv", KeptIndexes()
    index.write_text("file,group\na.png,1\nb.png,2\n")

    def regroup(image: str, group: str) -> None:
        indexes = Indexes([tmp_path], kept)
        indexes.put(tmp_path / image, with_part(indexes.take(tmp_path / image), group))
        index.write_text(indexes.texts()[index])
        indexes.keep()

    regroup("a.png", "3")
    regroup("a.png", "4")
    index.write_text(index.read_text() + "c.png,9\n")
    regroup("b.png", "5")
    assert index.read_text() == "file,group\na.png,4\nb.png,5\nc.png,9\n"


CLOSED = """
import sys
from pathlib import Path
from defect_detection.data.whole_changes import Change, carry_out
root = Path(sys.argv[1])
for name in ("unlabelled", "train"):
    (root / "data" / name).chmod(0o555)
    try:
        carry_out(root, Change([(root / "data/unlabelled/a.png", root / "data/train/a.png")]))
    except PermissionError as error:
        print(error.filename)
    (root / "data" / name).chmod(0o755)
"""


def test_a_folder_of_another_user_stops_a_change_before_its_journal(moved):
    root = moved[0]
    (root / "data/train").mkdir()
    said = subprocess.check_output([*bound_by_permissions(), sys.executable, "-c", CLOSED, root], text=True)
    assert said.split() == [str(root / "data/unlabelled"), str(root / "data/train")]
    assert not (root / "data" / JOURNAL).exists()
