"""The labels of folders, through the scan."""

import unicodedata
from pathlib import Path

import pytest

from defect_detection.data.samples import Scanned, scan_folder
from defect_detection.errors import DataError


@pytest.fixture
def scanned(tmp_path, write_images):
    """A function that fills folders, two images each, and scans them: `scanned("ok", "scratch")`."""

    def scan(*folders: str, defect_classes: tuple[str, ...] = (), ok_classes=("ok", "good")) -> Scanned:
        for folder in folders:
            write_images(tmp_path / "train" / folder, 2)
        return scan_folder(tmp_path / "train", ok_classes, defect_classes=defect_classes)

    return scan


@pytest.mark.parametrize(
    ("folders", "understood"),
    [
        (["ok", "scratch"], "ok: 2 OK; scratch: 2 defective"),
        (["OK ", "ok", "Scratch", "scratch"], "OK: 4 OK; Scratch: 4 defective"),
        (["ok/line 2/früh", "scratch/line 2"], "ok: 2 OK; scratch: 2 defective"),
        (["ok", "scratch", "product_B/ok", "product_B/scratch"],
         "ok: 2 OK; product_B/ok: 2 OK; product_B/scratch: 2 defective; scratch: 2 defective"),
        (["2024-05/A/ok/x", "2024-05/A/dent", "2024-05/B/GOOD"],
         "2024-05/A/dent: 2 defective; 2024-05/A/ok: 2 OK; 2024-05/B/GOOD: 2 OK"),
        (["ok", "not ok", "NG"], "NG: 2 defective; not ok: 2 defective; ok: 2 OK"),
    ],
)  # fmt: skip
def test_each_folder_is_understood_and_said(scanned, folders, understood):
    assert scanned(*folders).understood == understood


def test_spellings_of_one_class_are_one_type_of_defect(scanned):
    samples = scanned("ok", "Scratch", "scratch ", unicodedata.normalize("NFD", "früh"), "FRÜH").samples
    assert {one.defect_type for one in samples} == {"", "Scratch", "FRÜH"}


def test_an_ok_class_is_found_in_another_unicode_form(scanned):
    found = scanned("ok", "OK ", unicodedata.normalize("NFD", "양품"), "scratch", ok_classes=("ok", "양품"))
    assert sum(one.label == 0 for one in found.samples) == 6


@pytest.mark.parametrize(
    ("folders", "named"),
    [
        (["ok", "ok_2024"], r"'ok_2024' resembles an OK class .* add 'ok_2024' to data.ok_classes .*\(2 images\)"),
        (["ok", "Good parts"], "'Good parts' resembles an OK class"),
        (["ok", "product_B/Good parts"], "'product_B/Good parts' resembles an OK class"),
        (["ok", "ok/defective"], "'ok' is an OK class but contains 'defective'"),
        (["ok", "scratchy", "ok/line/Scratchy"], "'ok' is an OK class but contains 'Scratchy'"),
        (["defective/ok", "defective/scratch"], "'defective' resembles a defect class and contains a folder named like an OK class"),
        (["scratch", "scratch/ok"], "'scratch' contains images and contains a folder named like an OK class"),
        (["dent/ok", "dent/hole", "line/ok", "line/dent"], "'dent' contains a folder named like an OK class, but is a defect class"),
        (["train/ok", "test/ok"], "'test' is named like a split"),
        (["ok", "val"], "'val' is named like a split"),
    ],
)  # fmt: skip
def test_a_folder_whose_meaning_is_open_is_refused_by_name(scanned, folders, named):
    with pytest.raises(DataError, match=named) as caught:
        scanned(*folders)
    assert "are these images OK or defective" in str(caught.value)


@pytest.mark.parametrize(
    ("folders", "defects", "n_ok"),
    [
        (["ok", "ok_2024"], ["OK_2024 "], 2),
        (["ok", "Good parts"], ["good parts"], 2),
        (["ok", "scratch/normal light", "scratch/ok"], ["scratch"], 2),
        (["ok", "val"], ["val"], 2),
    ],
)
def test_the_settings_settle_it(scanned, folders, defects, n_ok):
    found = scanned(*folders, defect_classes=tuple(defects), ok_classes=("ok", "normal"))
    assert sum(one.label == 0 for one in found.samples) == n_ok


def test_a_name_in_both_lists_is_refused(scanned):
    with pytest.raises(DataError, match=r"data.defect_classes: 'good' is in data.ok_classes too"):
        scanned("ok", defect_classes=("Good",))


def test_images_that_the_index_labels_are_not_asked_about(scanned, tmp_path, write_images):
    write_images(tmp_path / "train" / "ok_2024", 2)
    index = "\n".join(["file,label", "ok_2024/000.png,ok", "ok_2024/001.png,1"])
    (tmp_path / "train" / "index.csv").write_text(index)
    found = scanned("ok", "scratch")
    assert found.understood == "ok: 2 OK; ok_2024: 1 OK; ok_2024: 1 defective; scratch: 2 defective"


def test_system_folders_hold_no_class(scanned, tmp_path: Path):
    found = scanned("ok", "scratch", "ok/@eaDir", "#recycle/ok", "$RECYCLE.BIN/S-1-5-21")
    assert found.said() == [
        f"{tmp_path}/train: ok: 2 OK; scratch: 2 defective",
        "  left out: 3 system folders (#recycle, $RECYCLE.BIN, @eaDir)",
    ]
