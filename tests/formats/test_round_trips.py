"""What is exported and imported again is what it was; what a format cannot hold is named."""

import numpy as np
import pytest
from layouts import content_of, imported, small_project

from defect_detection.formats.areas import Polygon
from defect_detection.formats.exporting import export_data
from defect_detection.formats.outlines import outlines
from defect_detection.formats.table import NAMES


@pytest.mark.parametrize("form", NAMES)
def test_images_types_masks_and_splits_come_back(form, tmp_path):
    ours = small_project(tmp_path)
    done = export_data(form, tmp_path / "theirs", ours)
    back, account = imported(form, tmp_path / "theirs", tmp_path / "back")
    before, after = content_of(ours), content_of(back)
    if form == "mvtec":  # has no defective images for training
        assert "defective images of train" in done.said[0]
        before = {key: found for key, found in before.items() if key[0] == "test" or not found[0]}
    assert after == before
    assert sum(account.counts.values()) == done.images == len(before)
    assert account.masks == done.masks


@pytest.mark.parametrize("form", NAMES)
def test_a_second_export_has_the_same_files(form, tmp_path):
    ours = small_project(tmp_path)
    for name in ("one", "two"):
        export_data(form, tmp_path / name, ours)
    one, two = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("one", "two")
    )
    assert one == two


def test_what_no_format_holds_is_counted_and_named(tmp_path):
    ours = small_project(tmp_path)
    index = tmp_path / "data/index.csv"
    index.write_text(index.read_text().replace("ok,,,", "ok,,part-7,").replace(",dent,,", ",dent,part-8,"))
    done = export_data("coco", tmp_path / "theirs", ours)
    assert done.said == (
        "not carried over: parts (column group): 4, such as train__ok__1.png",
        "not carried over: places of defects without a mask (the whole image is marked): 1, such as 9.png",
    )


def test_outlines_draw_any_mask_again():
    random = np.random.default_rng(0)
    for share in (0.05, 0.4, 0.6, 0.95, 1.0):
        marked = random.random((13, 17)) < share
        drawn = np.zeros_like(marked)
        for ring in outlines(marked):
            drawn |= Polygon(ring).draw(17, 13)
        assert np.array_equal(drawn, marked)


def test_an_outline_thinner_than_a_pixel_still_marks_something():
    drawn = Polygon(np.array([(2.1, 3.1), (9.9, 3.2), (9.9, 3.3)])).draw(24, 16)
    assert drawn.any()
    assert set(np.argwhere(drawn)[:, 0]) == {3}
