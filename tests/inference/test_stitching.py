"""Evidence of tiles becomes one map, and their highest score the score of the image."""

import numpy as np
import pytest

from defect_detection.data.large import Tile
from defect_detection.inference.tiled import Stitched
from defect_detection.model.type_rule import types_of_tiles

NOTHING = np.empty(0, np.uint8)


def test_a_stitched_map_has_no_seams():
    whole = np.add.outer(np.arange(10.0), np.arange(16.0))
    stitched = Stitched((10, 16))
    for row in (0, 4):
        for column in (0, 5, 10):
            part = whole[row : row + 6, column : column + 6]
            stitched.add(Tile(0, row, column, NOTHING), part)
    np.testing.assert_allclose(stitched.map(None), whole)


def test_where_tiles_disagree_the_one_whose_edge_is_farther_counts_more():
    stitched = Stitched((6, 9))
    stitched.add(Tile(0, 0, 0, NOTHING), np.zeros((6, 6)))
    stitched.add(Tile(1, 0, 3, NOTHING), np.ones((6, 6)))
    row = stitched.map(None)[2]
    assert (np.diff(row) >= 0).all() and np.diff(row).max() < 0.3
    assert row[3] == pytest.approx(0.25) and row[5] == pytest.approx(0.75)


def test_hidden_cells_and_those_in_no_tile_have_the_lowest_evidence():
    stitched, shown = Stitched((6, 12)), np.ones((6, 12), bool)
    shown[0] = False
    stitched.add(Tile(0, 0, 0, NOTHING), np.arange(36.0).reshape(6, 6))
    found = stitched.map(shown)
    assert (found[0] == 6).all() and (found[:, 6:] == 6).all() and found[5, 5] == 35


def test_the_tile_with_the_highest_score_names_the_type_and_defective_tiles_several():
    types, logits = np.array([[0.9, 0.3], [0.2, 0.6], [0.5, 0.99]]), np.array([1.0, 4.0, -3.0])
    one, strongest = types_of_tiles(types, logits, logits > 0, several=False)
    assert (one.tolist(), strongest) == ([0.2, 0.6], 1)
    assert types_of_tiles(types, logits, logits > 0, several=True)[0].tolist() == [0.9, 0.6]
    assert types_of_tiles(types, logits, logits > 9, several=True)[0].tolist() == [0.2, 0.6]
