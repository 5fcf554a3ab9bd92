"""Overlays have the path of their image, and are never inspected as parts."""

from pathlib import Path

import pytest

from defect_detection.data.walk import OUTPUT_MARK, Walked, find_images
from defect_detection.errors import DataError
from defect_detection.use_cases.overlays import open_overlay_folder, overlay_names, replace_overlay


@pytest.fixture
def parts(tmp_path, write_images) -> Path:
    write_images(tmp_path / "parts" / "a", 2)
    write_images(tmp_path / "parts" / "b", 1)
    return tmp_path / "parts"


def named(found: Walked) -> list[str]:
    return [name.as_posix() for name in overlay_names(found).values()]


def test_names_mirror_the_place_of_the_image_and_stay_the_same(parts, write_images):
    assert named(find_images([str(parts)])) == ["a/000", "a/001", "b/000"]
    write_images(parts, 1)
    assert set(named(find_images([str(parts)]))) == {"002", "a/000", "a/001", "b/000"}
    assert named(find_images([str(parts / "a"), str(parts / "b")])) == ["a/000", "a/001", "b/000"]
    assert named(find_images([str(parts / "a" / "001.png")])) == ["001"]


def test_images_that_differ_in_their_ending_alone_keep_it(parts):
    for name in ("000.jpg", "000.png.bmp"):
        (parts / "b" / name).write_bytes((parts / "b" / "000.png").read_bytes())
    names = named(find_images([str(parts / "b")]))
    assert {"000.jpg", "000.png"} < set(names)
    assert len(set(names)) == 3


def test_another_verdict_replaces_the_overlay(tmp_path):
    name = tmp_path / "out" / "a" / "000"
    replace_overlay(name, "ok", lambda path: path.write_text("first"))
    replace_overlay(name, "defective", lambda path: path.write_text("second"))
    assert [path.name for path in name.parent.iterdir()] == ["000.defective.png"]
    with pytest.raises(OSError, match="full"):
        replace_overlay(name, "ok", lambda path: (path.write_text("cut"), raise_full()))
    assert [path.read_text() for path in name.parent.iterdir()] == ["second"]


def raise_full() -> None:
    raise OSError("full")


def test_only_a_folder_of_overlays_gets_the_mark(parts, tmp_path, write_images):
    open_overlay_folder(tmp_path / "new", ())
    assert (tmp_path / "new" / OUTPUT_MARK).is_file()
    replace_overlay(tmp_path / "old" / "a" / "000", "ok", lambda path: path.touch())
    open_overlay_folder(tmp_path / "old", ())
    assert (tmp_path / "old" / OUTPUT_MARK).is_file()
    write_images(tmp_path / "photos", 1)
    open_overlay_folder(tmp_path / "photos", ())
    assert len(find_images([str(tmp_path / "photos")]).images) == 1


@pytest.mark.parametrize("output", ["", "a", "../parts"])
def test_a_folder_that_holds_images_to_inspect_is_refused(parts, output):
    images = find_images([str(parts / "a")]).images
    with pytest.raises(
        DataError, match=r"--output .*: this folder contains images to inspect .*use a separate folder"
    ):
        open_overlay_folder(parts / output, images)
    assert not (parts / output / OUTPUT_MARK).exists()
