import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defect_detection.config import Config
from defect_detection.data.split import load_splits, load_test
from defect_detection.errors import DataError, LeakageError

REAL_DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
Project = Callable[..., Config]


@pytest.fixture
def data(tmp_path, write_images):
    """Folder with train (10 OK, 10 defective) and test (3 and 3)."""
    for split, count in (("train", 10), ("test", 3)):
        write_images(tmp_path / "data" / split / "good", count)
        write_images(tmp_path / "data" / split / "dent", count)
    return tmp_path / "data"


def test_splits_hold_every_image_once_with_its_pixels(data, project: Project):
    splits = load_splits(project("training.cv_below=0"))
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [16, 4, 6]
    assert splits.skipped == ()
    assert splits.samples == splits.train + splits.validation
    assert splits.fold.tolist() == [-1] * 16 + [0] * 4
    keys = [sample.sha256 for sample in splits.samples]
    assert splits.pixels.rows(keys).shape == (20, 32, 32, 3)
    assert len({splits.train_fingerprint, splits.validation_fingerprint, splits.test_fingerprint}) == 3


def test_few_images_are_all_held_out_once(data, project: Project):
    splits = load_splits(project("training.cv_below=21"))
    assert splits.samples == splits.train == splits.validation
    assert splits.is_cross_validated
    assert np.bincount(splits.fold).tolist() == [4] * 5
    labels = np.array([sample.label for sample in splits.samples])
    assert np.bincount(splits.fold[labels == 1]).tolist() == [2] * 5
    assert not load_splits(project("training.cv_below=20")).is_cross_validated


def test_test_split_is_the_same_for_training_and_evaluation(data, project: Project):
    samples, skipped = load_test(project())
    assert (tuple(samples), skipped) == (load_splits(project()).test, [])


def test_one_corrupt_file_among_many_is_skipped_and_named(data, project: Project, write_images):
    write_images(data / "train" / "good", 200)
    broken = data / "train" / "good" / "107.png"
    broken.write_bytes(broken.read_bytes()[:200])
    (data / "test" / "dent" / "empty.jpg").touch()
    splits = load_splits(project())
    assert len(splits.samples) == 219
    assert [(item.path, item.reason.split(";")[0]) for item in splits.skipped] == [
        (broken, "cannot be decoded"),
        (data / "test" / "dent" / "empty.jpg", "empty file (0 bytes)"),
    ]


@pytest.mark.parametrize("pages", ["refuse", "first", "all"])
def test_files_of_several_pages_are_left_out_unless_the_first_is_asked_for(data, project: Project, pages):
    pictures = [Image.new("L", (40, 40), value) for value in (90, 200)]
    paths = [data / split / "dent" / "views.tif" for split in ("train", "test")]
    for number, path in enumerate(paths):
        pictures[number].save(path, save_all=True, append_images=[pictures[1 - number]])
    splits = load_splits(project(f"data.pages={pages}"))
    skipped = {item.path: item.reason[:8] for item in splits.skipped}
    assert skipped == ({} if pages == "first" else dict.fromkeys(paths, "2 pages;"))
    assert [len(splits.samples), len(splits.test)] == ([21, 7] if pages == "first" else [20, 6])


def test_the_bit_depth_of_the_settings_is_that_of_the_images(data, project: Project):
    path = data / "train" / "dent" / "deep.png"
    Image.fromarray(np.full((40, 40), 4095, np.uint16)).save(path)
    for overrides, seen in (([], 4095 // 257), (["data.bit_depth=12"], 255)):
        splits = load_splits(project(*overrides))
        (sample,) = (sample for sample in splits.samples if sample.path == path)
        assert (splits.pixels.rows([sample.sha256]) == seen).all()
    (skipped,) = load_splits(project("data.bit_depth=11")).skipped
    assert skipped.reason.startswith("expected values from 0 to 2047 (data.bit_depth: 11), received 4095")


@pytest.mark.parametrize("split", ["train", "test"])
def test_one_corrupt_file_is_refused_when_configured(data, project: Project, split):
    (data / split / "good" / "000.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(
        DataError, match=rf"data.{split}_dir: 1 unreadable image files; repair[^/]*/.*/000.png: expec"
    ):
        load_splits(project("data.on_unreadable=refuse"))


def test_files_of_other_formats_are_named_or_refused_and_notes_are_not(data, project: Project):
    (data / "train" / "good" / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (data / "train" / "good" / "README.md").write_text("notes")
    lines: list[str] = []
    splits = load_splits(project(), say=lines.append)
    assert [item.path.name for item in splits.skipped] == ["a.heic"]
    assert lines[0] == f"{data}/train: dent: 10 defective; good: 10 OK"
    assert "1 file not looked at (1 .heic)" in lines[1]
    assert lines[2:] == ["  left out: 1 side file (.md)", f"{data}/test: dent: 3 defective; good: 3 OK"]
    with pytest.raises(DataError, match=r"data.train_dir: 1 unreadable image files.*\n .*a.heic: not a JPEG"):
        load_splits(project("data.on_unreadable=refuse"))


def test_masks_among_the_images_stop_the_training(data, project: Project):
    for path in (data / "train" / "dent").glob("00[0-3].png"):
        Image.new("L", (12, 12), 255).save(path.with_name(f"{path.stem}_mask.png"))
    with pytest.raises(
        DataError, match=r"train: 4 files look like masks of the images beside them:\n .*000_mask.png"
    ):
        load_splits(project())


@pytest.mark.parametrize(("folder", "class_name"), [("train", "good"), ("train", "dent"), ("test", "good")])
@pytest.mark.parametrize("is_left_empty", [True, False])
def test_class_folder_that_is_empty_or_missing_is_an_error(data, project, folder, class_name, is_left_empty):
    shutil.rmtree(data / folder / class_name)
    if is_left_empty:
        (data / folder / class_name).mkdir()
    counts = r"0 OK and \d+ defective" if class_name == "good" else r"\d+ OK and 0 defective"
    with pytest.raises(
        DataError, match=rf"data.{folder}_dir: .*/{folder}: expected OK .*{counts}; put OK images"
    ):
        load_splits(project("training.mode=supervised"))


@pytest.mark.parametrize("folder", ["train", "test"])
def test_images_without_defects_are_enough_to_begin_with(data, project, folder):
    shutil.rmtree(data / folder / "dent")
    splits = load_splits(project())
    assert splits.mode == ("one_class" if folder == "train" else "supervised")


@pytest.mark.parametrize(
    ("class_name", "said"),
    [
        ("dent", r"received 10 OK and 0 defective \(10 files were skipped, such as .*dent/000.png: empty"),
        (
            "good",
            r"all 10 files in the folder good were skipped \(first: .*good/000.png: empty.*\); repair or",
        ),
    ],
)
def test_only_broken_images_of_a_class_are_reported_with_the_first_reason(
    data, project: Project, class_name, said
):
    for path in (data / "train" / class_name).iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=said):
        load_splits(project())


def test_all_ok_folders_whose_files_were_skipped_are_named(data, project: Project, write_images):
    write_images(data / "train" / "ok", 2)
    for name in ("good", "ok"):
        for path in (data / "train" / name).iterdir():
            path.write_bytes(b"")
    with pytest.raises(DataError, match="all 12 files in the folders good, ok were skipped"):
        load_splits(project("data.ok_classes=[ok, good]"))


@pytest.mark.parametrize("key", ["train_dir", "test_dir"])
def test_missing_folder_is_named_with_its_key(data, project: Project, key):
    with pytest.raises(DataError, match=rf"data.{key}: .*/nowhere: no such folder"):
        load_splits(project(f"data.{key}=nowhere"))


def test_three_images_in_all_say_why_they_can_not_be_split(tmp_path, data, project: Project, write_images):
    shutil.rmtree(data / "train")
    write_images(data / "train" / "good", 1)
    write_images(data / "train" / "dent", 2)
    with pytest.raises(
        DataError, match=r"data.train_dir: .*cannot be split.*1 OK and 2 defective; add .* OK"
    ):
        load_splits(project())


def test_identical_image_in_train_and_test_is_listed(data, project: Project):
    shutil.copy(data / "train" / "good" / "003.png", data / "test" / "good" / "copy.png")
    with pytest.raises(
        LeakageError, match=r"1 test images are also in train:\n .*good/003.png = .*good/copy.png"
    ):
        load_splits(project())


def test_group_in_train_and_test_is_listed_and_within_train_it_stays_together(data, project: Project):
    index = [f"train/good/{n:03}.png,part{n // 5}" for n in range(10)]
    (data / "index.csv").write_text("\n".join(["file,group", *index]))
    splits = load_splits(project("training.cv_below=0"))
    assert not {s.group for s in splits.train if s.group} & {s.group for s in splits.validation}
    crossed = load_splits(project())
    folds = {(s.group, fold) for s, fold in zip(crossed.samples, crossed.folds, strict=True) if s.group}
    assert len(folds) == 2
    (data / "index.csv").write_text("\n".join(["file,group", *index, "test/good/000.png,part1"]))
    with pytest.raises(LeakageError, match="1 groups are in both train and test:\n  part1"):
        load_splits(project())


def test_group_pattern_of_the_settings_is_used(data, project: Project):
    with pytest.raises(LeakageError, match="2 groups are in both train and test:\n  dent\n  good"):
        load_splits(project("data.group_pattern='^(\\w+)/'"))


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="no ../shared/data beside the repository")
@pytest.mark.parametrize("name", ["magnetic_tile", "cookies_small"])
def test_real_data_is_split_by_part(project: Project, name):
    folders = f"data.train_dir={REAL_DATA / name / 'train'}", f"data.test_dir={REAL_DATA / name / 'test'}"
    crossed = load_splits(project(*folders))
    fold_of = dict(zip((s.group for s in crossed.samples), crossed.folds, strict=True))
    assert crossed.folds == tuple(fold_of[s.group] for s in crossed.samples)
    splits = load_splits(project(*folders, "training.cv_below=0"))
    assert not {s.group for s in splits.train if s.group} & {s.group for s in splits.validation}
    share = len(splits.validation) / (len(splits.train) + len(splits.validation))
    assert share == pytest.approx(0.2, abs=0.03)
    assert splits.skipped == ()
