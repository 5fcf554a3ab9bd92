import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import LIMIT_S

from defect_detection.data import parts_in_paths
from defect_detection.data.samples import Sample, fingerprint, scan
from defect_detection.errors import DataError

OK_CLASSES = ("ok", "good", "class_0")


def found(folder: Path, **options: object) -> dict[str, Sample]:
    samples, _ = scan(folder, OK_CLASSES, **options)
    return {sample.path.relative_to(folder).as_posix(): sample for sample in samples}


@pytest.mark.parametrize(("ok", "other"), [("class_0", "class_1"), ("GOOD", "scratch"), ("ok", "defective")])
def test_folder_names_give_label_and_defect_type(tmp_path, write_images, ok, other):
    write_images(tmp_path / ok, 2)
    write_images(tmp_path / other, 1)
    samples = found(tmp_path)
    assert [(s.label, s.defect_type, s.group) for s in samples.values()] == [
        (int(name.startswith(other)), other if name.startswith(other) else "", "") for name in samples
    ]
    assert len(samples) == 3


def test_only_visible_images_count_in_any_case_and_depth(tmp_path, write_images):
    write_images(tmp_path / "ok", 1, suffix=".PNG")
    write_images(tmp_path / "ok" / "line 2" / "früh", 1, suffix=".Jpeg")
    write_images(tmp_path / "ok" / ".thumbnails", 1)
    write_images(tmp_path / ".cache", 1)
    write_images(tmp_path / "裂纹", 1)
    (tmp_path / "ok" / "._000.png").write_bytes(b"resource fork")
    (tmp_path / "ok" / "notes.txt").write_text("not an image")
    samples = found(tmp_path)
    assert list(samples) == ["ok/000.PNG", "ok/line 2/früh/000.Jpeg", "裂纹/000.png"]
    assert samples["裂纹/000.png"].defect_type == "裂纹"


def test_empty_unreadable_and_unlabelled_files_are_named(tmp_path, write_images):
    write_images(tmp_path / "ok", 1)
    write_images(tmp_path, 1, suffix=".bmp")
    (tmp_path / "ok" / "empty.png").touch()
    (tmp_path / "ok" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    samples, skipped = scan(tmp_path, OK_CLASSES)
    assert len(samples) == 1
    assert {item.path.name: item.reason for item in skipped} == {
        "001.bmp": "not in a class folder, and without a label in index.csv",
        "empty.png": "empty file (0 bytes)",
        "gone.png": "a broken link",
    }


def test_linked_folders_are_followed_once(tmp_path, write_images):
    write_images(tmp_path / "store", 2)
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "ok").symlink_to(tmp_path / "store", target_is_directory=True)
    (tmp_path / "store" / "loop").symlink_to(tmp_path / "train", target_is_directory=True)
    assert list(found(tmp_path / "train")) == ["ok/000.png", "ok/001.png"]


def test_missing_folder_is_an_error_and_an_empty_one_holds_nothing(tmp_path):
    with pytest.raises(
        DataError,
        match="nowhere: no such folder; expected a folder that contains one folder of images per class",
    ):
        scan(tmp_path / "nowhere", OK_CLASSES)
    (tmp_path / "ok").mkdir()
    assert scan(tmp_path, OK_CLASSES) == ([], [])


def test_group_pattern_is_searched_in_the_path(tmp_path, write_images):
    write_images(tmp_path / "ok" / "part7", 1)
    write_images(tmp_path / "bad" / "part8", 1)
    groups = {name: sample.group for name, sample in found(tmp_path, group_pattern=r"part(\d+)/").items()}
    assert groups == {"bad/part8/000.png": "8", "ok/part7/000.png": "7"}


def test_images_that_the_group_pattern_misses_are_listed(tmp_path, write_images):
    write_images(tmp_path / "ok" / "part7", 1)
    write_images(tmp_path / "ok", 12)
    with pytest.raises(DataError, match=r"data.group_pattern: expected 'part.*not found in 12:") as caught:
        scan(tmp_path, OK_CLASSES, r"part(\d+)")
    assert str(caught.value).splitlines()[-1].strip() == "and 2 more"


def write_index(path: Path, *lines: str) -> None:
    path.write_text("\n".join(["file,split,label,defect_type,group,mask", *lines]), encoding="utf-8-sig")


def test_index_wins_over_folders_and_unlisted_images_keep_theirs(tmp_path, write_images):
    folder = tmp_path / "train"
    write_images(folder / "ok", 4)
    write_images(folder / "scratch", 2)
    write_images(folder, 1, suffix=".bmp")
    write_images(tmp_path / "test" / "ok", 1)
    write_images(tmp_path / "masks", 1)
    write_index(
        tmp_path / "index.csv",
        "train/ok/000.png,train,defective,dent,part 1,masks/000.png",
        "train/ok/001.png,train,scratch,,,",
        "train/ok/002.png,train,1,,,",
        "train/scratch/000.png,train,GOOD,ignored,,",
        "train/scratch/001.png,train,,,part 2,",
        "train/002.bmp,train,0,,,",
        "test/ok/000.png,test,1,,,",
    )
    samples = found(folder)
    assert {name: (s.label, s.defect_type, s.group) for name, s in samples.items()} == {
        "002.bmp": (0, "", ""),
        "ok/000.png": (1, "dent", "part 1"),
        "ok/001.png": (1, "scratch", ""),
        "ok/002.png": (1, "defective", ""),
        "ok/003.png": (0, "", ""),
        "scratch/000.png": (0, "", ""),
        "scratch/001.png": (1, "scratch", "part 2"),
    }
    assert samples["ok/000.png"].mask == tmp_path / "masks" / "000.png"


def test_two_indexes_for_the_same_images_are_refused(tmp_path, write_images):
    write_images(tmp_path / "train" / "ok", 1)
    write_index(tmp_path / "index.csv", "train/ok/000.png,,ok,,outer,")
    write_index(tmp_path / "train" / "index.csv", "ok/000.png,,ok,,inner,")
    with pytest.raises(
        DataError,
        match=r"train/index.csv: .*/index.csv also has rows for 1 files .*merge both into one index",
    ):
        scan(tmp_path / "train", OK_CLASSES)
    write_index(tmp_path / "index.csv", "test/ok/000.png,,ok,,another folder,")
    assert found(tmp_path / "train")["ok/000.png"].group == "inner"


def test_index_gives_groups_and_the_pattern_the_rest(tmp_path, write_images):
    write_images(tmp_path / "ok", 2)
    write_index(tmp_path / "index.csv", "ok/000.png,,,,from index,")
    samples = found(tmp_path, group_pattern=r"ok/(\d+)")
    assert [sample.group for sample in samples.values()] == ["from index", "001"]


def test_wrong_rows_of_an_index_are_named_with_their_lines(tmp_path, write_images):
    write_images(tmp_path / "ok", 2)
    write_index(
        tmp_path / "index.csv",
        "ok/missing.png,,ok,,,",
        "ok/000.png,,perhaps,,,",
        "ok/001.png,,ok,,,no.png",
        "ok/../ok/001.png,,ok,,,",
    )
    with pytest.raises(DataError) as caught:
        scan(tmp_path, OK_CLASSES)
    assert [line.removeprefix(f"{tmp_path}/index.csv: ") for line in str(caught.value).splitlines()] == [
        "line 2: no such file: 'ok/missing.png'",
        "line 3: unknown label 'perhaps', expected one of: 0, 1, class_0, defective, good, ok",
        "line 4: no such mask: 'no.png'",
        "line 5: file 'ok/../ok/001.png' is also in line 4",
        f"1 of 4 rows match no image; paths are relative to {tmp_path}",
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"label,group\nx,1\n", "expected a column 'file' in the first line, received label, group"),
        (b"path,label\nx,1\n", "unknown column 'path', did you mean 'file'"),
        (b"file,label\nx,1\n\xff\xfe,1\n", r"cannot be read as CSV in UTF-8 \(line 3\)"),
        ("file,label\nx,1\n".encode("utf-16"), "it is in UTF-16"),
    ],
)
def test_file_that_is_no_index_is_refused(tmp_path, content, expected):
    (tmp_path / "index.csv").write_bytes(content)
    with pytest.raises(DataError, match=expected):
        scan(tmp_path, OK_CLASSES)


def test_fingerprint_depends_on_content_label_and_group_only(tmp_path, write_images):
    write_images(tmp_path / "ok", 2)
    write_images(tmp_path / "bad", 2)
    samples, _ = scan(tmp_path, OK_CLASSES)
    before = fingerprint(samples)
    (tmp_path / "ok" / "000.png").rename(tmp_path / "ok" / "renamed.png")
    os.utime(tmp_path / "ok" / "001.png", (0, 0))
    renamed, _ = scan(tmp_path, OK_CLASSES)
    assert fingerprint(reversed(renamed)) == before
    (tmp_path / "ok" / "renamed.png").rename(tmp_path / "bad" / "renamed.png")
    relabelled, _ = scan(tmp_path, OK_CLASSES)
    grouped, _ = scan(tmp_path, OK_CLASSES, r"^(\w)")
    assert len({before, fingerprint(relabelled), fingerprint(grouped), fingerprint(samples[1:])}) == 4


def test_a_pattern_that_takes_exponential_time_is_refused(monkeypatch):
    monkeypatch.setattr(parts_in_paths, "LIMIT_S", 0.3)
    with pytest.raises(DataError, match=r"data.group_pattern: searching '.*' in 1 path took over 0.3 s"):
        parts_in_paths.parts_in(r"^(\w+)+!$", ["a" * 60])


@pytest.mark.skipif(not hasattr(signal, "alarm"), reason="only POSIX systems have alarms")
def test_such_a_search_ends_by_itself_where_the_process_that_waits_is_killed():
    given = json.dumps([r"^(\w+)+!$", 1, ["a" * 60]])
    command = [sys.executable, "-I", "-S", "-c", parts_in_paths._SEARCH]
    ended = subprocess.run(command, input=given, text=True, check=False, timeout=LIMIT_S)
    assert ended.returncode == -signal.SIGALRM
