import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from scipy.stats import binomtest

from defect_detection.report.localisation import (
    border,
    border_share,
    defect_cells,
    evidence_remark,
    pointing,
    points_at,
)


def map_with_peak(row, column, side=6):
    evidence = np.zeros((side, side))
    evidence[row, column] = 1
    return evidence


def mask_at(row, column, side=96):
    """A mask of 96 px, six cells of 16 px wide, with one defective pixel in the given cell."""
    mask = np.zeros((side, side), bool)
    mask[16 * row + 8, 16 * column + 8] = True
    return mask


def test_a_defect_counts_for_its_cell_and_those_around_it():
    cells = defect_cells(mask_at(2, 3), (6, 6))
    assert np.argwhere(cells).min(0).tolist() == [1, 2] and np.argwhere(cells).max(0).tolist() == [3, 4]
    assert cells.sum() == 9
    assert defect_cells(mask_at(0, 0), (6, 6)).sum() == 4  # nothing lies beyond the edge
    assert defect_cells(mask_at(2, 3), (6, 6), reach=0).sum() == 1


def test_cells_agree_with_scipys_dilation():
    mask = np.random.default_rng(0).random((96, 64)) < 0.003
    blocks = mask.reshape(6, 16, 4, 16).any(axis=(1, 3))
    np.testing.assert_array_equal(defect_cells(mask, (6, 4)), binary_dilation(blocks, np.ones((3, 3))))


@pytest.mark.parametrize(("peak", "hit"), [((2, 3), True), ((3, 4), True), ((4, 3), False), ((2, 5), False)])
def test_a_peak_on_the_defect_or_beside_it_points_at_it(peak, hit):
    assert points_at(map_with_peak(*peak), defect_cells(mask_at(2, 3), (6, 6))) is hit


def test_pointing_accuracy_worked_by_hand():
    cells = [defect_cells(mask_at(2, 3), (6, 6)), defect_cells(mask_at(0, 0), (6, 6))] * 2
    aim = pointing([True, False, True, True], cells, [True, True, False, True], ["a", "a", "b", "b"])
    assert (aim.all.count, aim.all.total) == (3, 4)
    assert (aim.caught.count, aim.caught.total) == (2, 3)
    assert aim.by_chance == pytest.approx((9 + 4) / 2 / 36)
    assert {name: (rate.count, rate.total) for name, rate in aim.per_defect_type.items()} == {
        "a": (1, 2),
        "b": (2, 2),
    }
    interval = binomtest(3, 4).proportion_ci(method="exact")
    assert (aim.all.low, aim.all.high) == pytest.approx((interval.low, interval.high))


def test_pointing_needs_masks_and_knows_when_nothing_was_caught():
    assert pointing([], [], [], []) is None
    assert pointing([True], [np.ones((2, 2), bool)], [False], ["a"]).caught is None


def test_share_of_evidence_on_the_border_worked_by_hand():
    evidence = (
        map_with_peak(0, 2) + map_with_peak(3, 3) * 3 - 4
    )  # 1 in the ring, 3 inside, above a median of -4
    assert border_share(evidence) == pytest.approx(0.25)


def test_flat_evidence_is_on_the_border_as_much_as_its_cells_are():
    assert border_share(np.full((6, 6), 2.0)) == pytest.approx(20 / 36)


def test_a_peak_at_the_edge_is_held_against_a_model_only_where_the_defect_is_elsewhere():
    maps = np.stack([map_with_peak(0, 2), map_with_peak(0, 3), map_with_peak(2, 2), map_with_peak(5, 5)])
    inside, at_the_edge = defect_cells(mask_at(2, 3), (6, 6)), defect_cells(mask_at(0, 3), (6, 6))
    found = border(maps, [inside, at_the_edge, inside, None])
    assert (found.peaks.count, found.peaks.total) == (3, 4)
    assert (found.peaks_off_defect.count, found.peaks_off_defect.total) == (1, 2)
    assert found.cells == pytest.approx(20 / 36)
    assert found.share == pytest.approx(3 / 4)


def test_no_border_without_images_or_without_a_middle():
    assert border(np.zeros((0, 6, 6)), []) is None
    assert border(np.zeros((1, 2, 2)), [None]) is None
    assert border(map_with_peak(2, 2)[None], [None]).peaks_off_defect is None


# -- what is to be said about it ---------------------------------------------------------------------------------------


def maps_with_peaks(*places: tuple[int, int], side: int = 8) -> np.ndarray:
    maps = np.zeros((len(places), side, side))
    for number, (row, column) in enumerate(places):
        maps[number, row, column] = 1
    return maps


def test_evidence_at_the_edge_more_often_than_by_chance_is_remarked():
    """8 of 8 at the edge, as on the cookies: by chance 28 of 64 cells, 43.8 %."""
    at_edge = border(maps_with_peaks(*[(0, column) for column in range(8)]), [None] * 8)
    remark = evidence_remark(None, at_edge)
    assert remark.startswith("The strongest evidence lies at the edge of the picture in 8/8 ")
    assert (
        "of the images with the verdict defective (by chance in 43.8 %): the model may react to something other"
        in remark
    )


def test_evidence_inside_is_no_remark():
    inside = border(maps_with_peaks(*[(3, 3)] * 8), [None] * 8)
    assert evidence_remark(None, inside) is None
    assert evidence_remark(None, None) is None


def test_evidence_at_the_edge_is_no_remark_where_the_masks_show_the_defects_there():
    edge = np.zeros((8, 8), bool)
    edge[0] = True
    maps = maps_with_peaks(*[(0, column) for column in range(8)])
    aim = pointing([True] * 8, [edge] * 8, [True] * 8, ["crack"] * 8)
    assert evidence_remark(aim, border(maps, [edge] * 8)) is None


def test_evidence_in_the_background_is_remarked_where_masks_show_it():
    middle = np.zeros((8, 8), bool)
    middle[3:5, 3:5] = True
    aim = pointing([False] * 7 + [True], [middle] * 8, [True] * 8, ["crack"] * 8)
    maps = maps_with_peaks(*[(1, 1)] * 7, (3, 3))
    remark = evidence_remark(aim, border(maps, [middle] * 8))
    assert remark.startswith("The strongest evidence lies on the defect in only 1/8 ")
