"""Known defects are found as any other images are."""

import shutil

import pytest

from defect_detection.inference.inspect import Inspector
from defect_detection.use_cases.checks import check_challenge


@pytest.fixture(scope="module")
def inspector(trained_once):
    return Inspector.load(trained_once.config().bundle_dir)


@pytest.fixture
def challenge(trained_once, tmp_path):
    """A function that checks a folder whose known defects lie behind a link, after `change` was done to it."""
    store = tmp_path / "camera2"
    shutil.copytree(trained_once.root / "data/test/hole", store)
    (tmp_path / "challenge").mkdir()
    (tmp_path / "challenge" / "hole").symlink_to(store)
    return tmp_path / "challenge"


def test_known_defects_behind_a_link_are_checked(inspector, trained_once, challenge):
    checked = check_challenge(inspector, trained_once.config(f"data.challenge_dir={challenge}"))
    assert (checked.passed, checked.text) == (True, "All 10 known defects are caught")


def test_a_known_defect_that_cannot_be_inspected_is_not_caught(inspector, trained_once, challenge):
    (challenge / "film.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (challenge / "gone.png").symlink_to("/nowhere.png")
    (challenge / "notes.txt").write_text("where they came from")
    checked = check_challenge(inspector, trained_once.config(f"data.challenge_dir={challenge}"))
    assert checked.passed is False
    assert "2 of 12 known defects are missed: " in checked.text
    assert "film.heic (not a JPEG" in checked.text
    assert "gone.png (a broken link)" in checked.text


def test_a_folder_without_known_defects_says_what_it_holds(inspector, trained_once, tmp_path):
    folder = tmp_path / "known"
    (folder / "#recycle").mkdir(parents=True)
    checked = check_challenge(inspector, trained_once.config(f"data.challenge_dir={folder}"))
    assert checked.passed is None
    assert checked.text.endswith("contains no image (left out: 1 system folder (#recycle))")
    (tmp_path / "file").write_text("known defects")
    checked = check_challenge(inspector, trained_once.config(f"data.challenge_dir={tmp_path / 'file'}"))
    assert (checked.passed, "received a file" in checked.text) == (False, True)
