"""Exported feedback is trained on together with the training folder."""

import shutil

import pytest

from defect_detection.data.split import load_splits
from defect_detection.errors import DataError


@pytest.fixture
def folders(tmp_path, write_images):
    for split, count, suffix in (("train", 12, ".png"), ("test", 3, ".bmp")):
        for name in ("ok", "scratch"):
            write_images(tmp_path / "data" / split / name, count, suffix=suffix)
    return tmp_path / "data"


def write_index(folder, *rows: str) -> None:
    (folder / "index.csv").write_text("\n".join(["file,label,defect_type,group", *rows]))


def test_feedback_is_added_with_its_groups(folders, project, write_images):
    paths = write_images(folders / "feedback" / "dent", 4)
    write_index(folders / "feedback", *(f"dent/{path.name},defective,dent,part 1" for path in paths))
    assert len(load_splits(project("data.feedback_dir=null")).samples) == 24
    splits = load_splits(project("data.feedback_dir=data/feedback"))
    assert len(splits.samples) == 28
    added = [fold for one, fold in zip(splits.samples, splits.fold, strict=True) if one.group == "part 1"]
    assert (len(added), len(set(added))) == (4, 1), "images of one part stay together"
    assert splits.skipped == ()


def test_the_pattern_of_groups_isnt_asked_of_feedback(folders, project, write_images):
    write_images(folders / "feedback" / "ok", 1)
    splits = load_splits(project("data.feedback_dir=data/feedback", r"data.group_pattern='(\d+\.\w+)'"))
    assert len(splits.samples) == 25


def test_a_folder_that_isnt_there_yet_adds_nothing(folders, project):
    assert len(load_splits(project("data.feedback_dir=data/feedback")).samples) == 24


def test_images_of_the_test_split_are_left_out_with_a_note(folders, project, write_images):
    (folders / "feedback" / "ok").mkdir(parents=True)
    shutil.copy(folders / "test" / "scratch" / "000.bmp", folders / "feedback" / "ok" / "a.bmp")
    splits = load_splits(project("data.feedback_dir=data/feedback", "data.on_unreadable=refuse"))
    assert len(splits.samples) == 24
    assert [(one.path.name, one.reason) for one in splits.skipped] == [
        ("a.bmp", "the image or its group is in the test split")
    ]


def test_the_label_of_feedback_counts_for_an_image_that_is_there_already(folders, project):
    (folders / "feedback" / "ok").mkdir(parents=True)
    shutil.copy(folders / "train" / "scratch" / "000.png", folders / "feedback" / "ok" / "corrected.png")
    shutil.copy(folders / "train" / "ok" / "000.png", folders / "feedback" / "ok" / "same.png")
    splits = load_splits(project("data.feedback_dir=data/feedback"))
    assert len(splits.samples) == 24
    assert [one.label for one in splits.samples if one.path.name == "corrected.png"] == [0]
    (skipped,) = splits.skipped
    assert skipped.path == folders / "train" / "scratch" / "000.png"
    assert skipped.reason.startswith("feedback gives it another label: ")


def test_copies_of_a_test_image_are_all_left_out(folders, project):
    for name in ("a.bmp", "b.bmp"):
        (folders / "feedback" / "ok").mkdir(parents=True, exist_ok=True)
        shutil.copy(folders / "test" / "ok" / "000.bmp", folders / "feedback" / "ok" / name)
    splits = load_splits(project("data.feedback_dir=data/feedback"))
    assert len(splits.samples) == 24
    assert [one.path.name for one in splits.skipped] == ["a.bmp", "b.bmp"]


@pytest.mark.parametrize(("label", "wrong"), [("ok", "scratch"), ("scratch", "ok")])
def test_the_label_of_feedback_counts_for_every_copy_that_is_there(folders, project, label, wrong):
    image = folders / "train" / "ok" / "000.png"
    for folder in ("train/scratch/copy.png", f"feedback/{label}/said.png"):
        (folders / folder).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, folders / folder)
    splits = load_splits(project("data.feedback_dir=data/feedback"))
    copies = [one for one in splits.samples if one.path.name in ("000.png", "copy.png", "said.png")]
    same = [one for one in copies if one.path.read_bytes() == image.read_bytes()]
    assert {one.path.parent.name for one in same} == {label}
    (skipped,) = splits.skipped
    assert skipped.path.parent.name == wrong


def test_copies_that_feedback_labels_in_two_ways_are_left_out(folders, project, write_images):
    (image,) = write_images(folders / "feedback" / "ok", 1)
    (folders / "feedback" / "dent").mkdir()
    shutil.copy(image, folders / "feedback" / "dent" / "same.png")
    splits = load_splits(project("data.feedback_dir=data/feedback"))
    assert len(splits.samples) == 24
    assert {one.reason for one in splits.skipped} == {
        "feedback contains copies with two labels; remove the wrong copy"
    }


def test_a_wrong_index_is_an_error_that_names_the_key(folders, project, write_images):
    write_images(folders / "feedback" / "ok", 1)
    write_index(folders / "feedback", "ok/nothing.png,ok,,")
    with pytest.raises(DataError, match=r"data\.feedback_dir: .*no such file"):
        load_splits(project("data.feedback_dir=data/feedback"))
