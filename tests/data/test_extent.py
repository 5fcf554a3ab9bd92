"""From cells of an evidence map to pixels of the image."""

from defect_detection.data.extent import Box, Extent


def test_a_cell_of_a_stretched_map_covers_its_share_of_the_image():
    extent = Extent.whole((1616, 1216))
    assert extent.box_of((14, 14), slice(0, 14), slice(0, 14)) == Box(0, 0, 1616, 1216)
    assert extent.box_of((14, 14), slice(7, 8), slice(13, 14)) == Box(1500, 608, 1616, 695)


def test_cells_of_padding_cover_no_pixels_outside_the_region():
    extent = Extent(100, -50, 400, 400, Box(100, 50, 500, 250), (600, 300))
    assert extent.box_of((8, 8), slice(0, 4), slice(0, 1)) == Box(100, 50, 150, 150)
