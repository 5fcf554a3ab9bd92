"""Boxes: where an image is defective, in pixels of the original image, and how large."""

import numpy as np
import pytest

from defect_detection.data.boxes import NO_BOXES, BoxRules, find_boxes, level_of
from defect_detection.data.extent import Box, Extent

SURE = 0.999


def evidence_of(*peaks: tuple[int, int, float], shape: tuple[int, int] = (8, 8)) -> np.ndarray:
    """Return a map of -4 with some cells (row, column, value) above."""
    values = np.full(shape, -4.0, np.float32)
    for row, column, value in peaks:
        values[row, column] = value
    return values


def test_areas_are_boxes_in_pixels_of_the_original_image_strongest_first():
    evidence = evidence_of((0, 0, 4), (6, 5, 6), (7, 6, 5))  # the last two touch at a corner
    found = find_boxes(evidence, SURE, 0.5, Extent.whole((1600, 800))).found
    assert [one.box for one in found] == [Box(1000, 600, 1400, 800), Box(0, 0, 200, 100)]
    assert [one.area_px for one in found] == [2 * 200 * 100, 200 * 100]
    odds = np.exp([6, 5, 4])
    total = odds.sum() + 61 * np.exp(-4)
    assert [one.share for one in found] == pytest.approx([odds[:2].sum() / total, odds[2] / total])


@pytest.mark.parametrize("threshold", [0.02, 0.5, 0.93])
def test_at_the_threshold_the_strongest_cell_is_the_box_and_below_it_there_is_none(threshold):
    evidence = evidence_of((2, 3, 1.5), (2, 4, 1.4), (6, 6, 1.3))
    extent = Extent.whole((8, 8))
    assert [one.box for one in find_boxes(evidence, threshold, threshold, extent).found] == [Box(3, 2, 4, 3)]
    assert find_boxes(evidence, threshold - 0.01, threshold, extent).found == ()
    # So much surer that the second cell counts too, and the third does not yet
    surer = 1 / (1 + np.exp(-np.log(threshold / (1 - threshold)) - 0.15))
    assert [one.box for one in find_boxes(evidence, surer, threshold, extent).found] == [Box(3, 2, 5, 3)]


@pytest.mark.parametrize(("score", "threshold"), [(1.0, 0.5), (0.0, 0.0), (1.0, 1.0), (0.3, 0.0)])
def test_a_level_is_never_below_half_of_the_peak(score, threshold):
    assert level_of(evidence_of((1, 1, 6)), score, threshold) == 1.0
    assert len(find_boxes(evidence_of((1, 1, 6)), score, threshold, Extent.whole((8, 8))).found) == 1


def test_a_flat_map_is_one_box_of_the_whole_image():
    (one,) = find_boxes(evidence_of(), SURE, 0.5, Extent.whole((30, 20))).found
    assert (one.box, one.area_px, one.share) == (Box(0, 0, 30, 20), 600, pytest.approx(1))


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_evidence_that_is_not_finite_gives_no_box(value):
    assert find_boxes(evidence_of((2, 2, value)), SURE, 0.5, Extent.whole((8, 8))) == NO_BOXES


def test_small_areas_are_counted_and_sizes_are_also_in_millimetres():
    evidence = evidence_of((0, 0, 4), (6, 5, 6), (7, 6, 5))
    rules = BoxRules(mm_per_px=0.05, min_px=15)
    boxes = find_boxes(evidence, SURE, 0.5, Extent.whole((24, 32)), rules)
    assert boxes.ignored == 1
    assert boxes.to_json() == [
        {
            "box": [15, 24, 6, 8],
            "area_px": 24,
            "share": pytest.approx(0.909, abs=0.01),
            "box_mm": [0.75, 1.2, 0.3, 0.4],
            "area_mm2": 0.06,
        }
    ]


def test_padding_is_no_part_of_a_box():
    extent = Extent(0.0, -40.0, 160.0, 160.0, Box(0, 0, 160, 80), (160, 80))  # a wide image in a square
    (one,) = find_boxes(evidence_of((1, 2, 6), (2, 2, 5)), SURE, 0.5, extent).found
    assert (one.box, one.area_px) == (Box(40, 0, 60, 20), 400)
