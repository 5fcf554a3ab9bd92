"""The list of a training's images, and the differences between two."""

from dataclasses import replace

import pytest

from defect_detection.data.manifest import Manifest, ManifestEntry, read_manifest
from defect_detection.data.manifest_diff import compare
from defect_detection.errors import DataError

ENTRY = ManifestEntry(
    "aa", "data/train/hole/1.png", "defective", ("hole",), "part-1", "train", "data.train_dir"
)


def found(old, new, **options):
    return {kind: texts for kind, texts in compare(old, new, **options).found.items() if texts}


def test_a_manifest_reads_back_as_it_was_whatever_the_order_and_the_bytes_of_a_name():
    odd = replace(ENTRY, sha256="bb", file='line\nbreak "\udcff.png', findings=("blurry", "copies"))
    written = Manifest.of([odd, ENTRY])
    assert written.text == Manifest.of([ENTRY, odd]).text
    read = read_manifest(written.text.encode(), "name")
    assert set(read.entries("name")) == {ENTRY, odd}
    assert read.sha256 == written.sha256


def test_each_kind_of_difference_is_named():
    others = {
        "relabelled": replace(ENTRY, label="ok", types=()),
        "retyped": replace(ENTRY, types=("hole", "crack")),
        "moved": replace(ENTRY, split="test"),
        "other part": replace(ENTRY, part="part-2"),
        "changed content": replace(ENTRY, sha256="bb"),
    }
    for kind, other in others.items():
        assert found([ENTRY], [other]).keys() == {kind}
    assert found([ENTRY], []) == {"removed": ["data/train/hole/1.png (train, hole)"]}
    assert found([], [ENTRY]) == {"added": ["data/train/hole/1.png (train, hole)"]}


def test_a_renamed_file_and_other_findings_are_no_difference():
    assert compare([ENTRY], [replace(ENTRY, file="b.png", findings=("blurry",))]).is_empty


def test_copies_are_counted_one_by_one():
    copy = replace(ENTRY, file="copy.png")
    assert found([ENTRY, copy], [ENTRY]) == {"removed": ["copy.png (train, hole)"]}
    assert compare([ENTRY, copy], [copy, ENTRY]).is_empty


def test_a_folder_does_not_tell_validation_from_training():
    validation = replace(ENTRY, split="validation")
    assert found([validation], [ENTRY], with_validation=False) == {}
    assert found([validation], [ENTRY]) == {"moved": ["data/train/hole/1.png: validation → train"]}


def test_types_in_another_order_are_the_same_types():
    assert compare([replace(ENTRY, types=("a", "b"))], [replace(ENTRY, types=("b", "a"))]).is_empty


def test_many_differences_are_counted_and_the_first_are_named():
    lines = compare([], [replace(ENTRY, sha256=str(i), file=f"{i:03}.png") for i in range(30)]).lines()
    assert lines[0] == "added: 30"
    assert lines[-2:] == ["  and 20 more", "30 added (0 images before, 30 after)"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[1]\n",
        b'{"manifest": 2}\n',
        b'{"manifest": 1}\n{"sha256": "aa"}\n',
        b'{"manifest": 1}\n' + b"[" * 100_000,
        Manifest.of([ENTRY]).text.replace('"part-1"', "7").encode(),
    ],
)
def test_what_is_no_manifest_is_refused_by_name(content):
    with pytest.raises(DataError, match=r"old\.jsonl"):
        read_manifest(content, "old.jsonl").entries("old.jsonl")
