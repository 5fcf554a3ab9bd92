"""Unfinished files of killed processes are removed by the next process, and nothing else."""

import os
import resource
import shutil
import tempfile
from pathlib import Path

import pytest
from killed import killed_at

from defect_detection.config import load_config
from defect_detection.errors import explain
from defect_detection.files.unfinished import (
    OLD_S,
    is_free,
    own_temporary_folder,
    remove_leftovers,
    unfinished,
    whole_file,
    whole_folder,
    working_folder,
)
from defect_detection.processes.identity import has_ended, name_of_owner

# Writes a file, a folder and a working folder, and is killed at the step of that number; what is removed is no step.
WRITE = """
from defect_detection.files.unfinished import own_temporary_folder, whole_file, whole_folder

for name in ("replace", "mkdir", "write_text"):
    setattr(pathlib.Path, name, counted(getattr(pathlib.Path, name)))
with own_temporary_folder(), whole_folder(root / "model") as folder:
    (folder / "weights").write_text("new")
    with whole_file(root / "info.txt") as file:
        file.write_text("new")
"""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_process_killed_at_any_step_leaves_the_old_or_the_new_and_the_next_start_removes_the_rest(
    tmp_path, caplog
):
    left = 0
    for step in range(100):
        root = tmp_path / str(step)
        for folder in (root / "model", root / "tmp"):
            folder.mkdir(parents=True)
        (root / "model/weights").write_text("old")
        (root / "info.txt").write_text("old")
        ended = not killed_at(step, root, WRITE, TMPDIR=str(root / "tmp"))
        left += len(
            [
                name
                for folder in (root, root / "tmp")
                for name in names(folder)
                if name.startswith(".unfinished")
            ]
        )
        remove_leftovers([root, root / "tmp"])
        assert (names(root), names(root / "tmp")) == ({"model", "info.txt", "tmp"}, set())
        assert (root / "model/weights").read_text() in ("old", "new")[ended:]
        if ended:
            break
    assert ended and left >= step
    assert sum(record.args[0] for record in caplog.records) == left, "each is counted, in one line a start"


def test_what_lives_what_is_elsewhere_and_what_is_not_ours_stays(tmp_path):
    mine = unfinished(tmp_path)
    machine, pid, started = name_of_owner().split("-")
    elsewhere, long_ago = (tmp_path / f".unfinished-{'0' * 8}-{pid}-{started}-00000{digit}" for digit in "12")
    earlier = tmp_path / f".unfinished-{machine}-{pid}-{'0' * 8}-000003.png"  # this id, another start
    users = [
        tmp_path / name
        for name in (".unfinished-mine", ".unfinished-report.png", ".a.123.partial", "defect-1", "x.part")
    ]
    for path in (mine, elsewhere, long_ago):
        path.mkdir()
        (path / "part").write_text("")
    for path in (earlier, *users):
        path.write_text("")
    (tmp_path / f".unfinished-{machine}-{pid}-{'0' * 8}-000004").symlink_to(users[0])
    for path in (long_ago, long_ago / "part"):
        os.utime(path, (0, path.stat().st_mtime - OLD_S - 10))
    there = names(tmp_path)
    assert remove_leftovers([tmp_path, tmp_path, tmp_path / "none", users[0]]) == 2
    assert there - names(tmp_path) == {earlier.name, long_ago.name}
    assert has_ended(name_of_owner()) is False


def test_an_error_leaves_the_old_and_nothing_beside_it(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    for write in (whole_file, whole_folder):
        with pytest.raises(OSError, match="full"), write(tmp_path / write.__name__.removeprefix("whole_")):
            raise OSError("full")
    assert (names(tmp_path), (tmp_path / "file").read_text()) == ({"file", "folder"}, "old")


def test_libraries_keep_their_temporary_files_in_a_folder_that_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with own_temporary_folder():
        kept = Path(tempfile.mkdtemp())
        assert kept.is_relative_to(tmp_path) and kept.parent != tmp_path
        with working_folder() as folder:
            assert folder.parent == kept.parent
    assert (tempfile.gettempdir(), names(tmp_path)) == (str(tmp_path), set())


def test_each_start_looks_where_a_project_writes(tmp_path):
    (tmp_path / "config.yaml").write_text("training: {hyperparameter_sets: [{name: only}]}\n")
    places = [
        tmp_path / place
        for place in (".", "reports", "cache/activations/trunk", "cache/models/Production_Reg")
    ]
    machine, pid, _ = name_of_owner().split("-")
    for place in places:
        (place / f".unfinished-{machine}-{pid}-{'0' * 8}-00000a").mkdir(parents=True)
    load_config(tmp_path / "config.yaml")
    assert [name for place in places for name in names(place) if name.startswith(".unfinished")] == []


def test_a_write_that_finds_no_room_names_the_file_and_leaves_what_was_there(tmp_path):
    (path := tmp_path / "verdicts.parquet").write_bytes(b"before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"verdicts\.parquet"), whole_file(path) as partial:
            partial.write_bytes(bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("verdicts.parquet", b"before")]


def test_a_folder_that_finds_no_room_is_named_and_leaves_nothing(tmp_path):
    (tmp_path / "image.png").write_bytes(b"0" * 3000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for write in (
        lambda new: (new / "text").write_text("0" * 3000),
        lambda new: shutil.copyfile(tmp_path / "image.png", new / "image.png"),
    ):
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
        try:
            with (
                pytest.raises(OSError, match=r"folder'$") as caught,
                whole_folder(tmp_path / "folder") as new,
            ):
                write(new)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert explain(caught.value).startswith(f"{tmp_path / 'folder'}: cannot be used")
        assert names(tmp_path) == {"image.png"}


def test_a_folder_with_an_empty_lock_alone_is_free(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / ".images.lock").touch()
    assert is_free(tmp_path)
    (tmp_path / "bin/a.lock").write_text("an image of somebody")
    assert not is_free(tmp_path)
