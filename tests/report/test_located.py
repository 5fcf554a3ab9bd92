"""Boxes are compared with masks."""

import numpy as np
import pytest

from defect_detection.report.located import locate


def test_masks_boxes_and_their_overlap_are_counted_on_images_with_a_mask():
    maps = np.full((4, 4, 4), -4.0)
    maps[0, 1, 1] = maps[1, 0, 0] = maps[1, 3, 3] = maps[2, 2, 2] = 6.0
    masks = {i: np.zeros((32, 32), bool) for i in range(3)}
    masks[0][8:16, 8:12] = True  # half of the box at (1, 1)
    masks[1][0:8, 0:8] = True  # all of the box at (0, 0); the one at (3, 3) is beside it
    masks[2][16:24, 16:24] = True  # passed as OK: no box
    found = locate(maps, masks, np.array([0.99, 0.99, 0.1, 0.99]), 0.5, [""] * 4)
    assert (found.touched.count, found.touched.total) == (2, 3)
    assert (found.caught.count, found.caught.total) == (2, 2)
    assert (found.off.count, found.off.total) == (1, 3)
    assert found.overlap.value == pytest.approx((0.5 + 0.5) / 2)
    assert locate(maps, {}, np.ones(4), 0.5, [""] * 4) is None
    passed = locate(maps, masks, np.zeros(4), 0.5, [""] * 4)
    assert (passed.touched.count, passed.caught, passed.off, passed.overlap) == (0, None, None, None)
