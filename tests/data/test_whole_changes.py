"""Moves of images and their index: all of a change is done, or nothing."""

import errno
import json

import pytest

from defect_detection.data import whole_changes
from defect_detection.data.index_edit import Indexes, with_part
from defect_detection.data.whole_changes import JOURNAL, Change, _journal, alone, carry_out, finish_changes
from defect_detection.errors import DataError
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
        killed.setattr(whole_changes, "_finish", lambda _folder: None)
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
