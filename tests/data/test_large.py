"""A large image is read tile by tile, as it is."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defect_detection.data.framed import framing_of
from defect_detection.data.framing import HIDDEN, Framing
from defect_detection.data.large import opened_large
from defect_detection.data.pixels import decoded
from defect_detection.data.samples import Sample
from defect_detection.errors import ConfigError, ImageError

RANDOM = np.random.default_rng(0)
TILES = "data.tiles={size: 48, overlap: 16}"


@pytest.fixture(params=["gray", "RGB"])
def image(tmp_path, request) -> Path:
    """150 x 101 px of noise."""
    shape = (101, 150) if request.param == "gray" else (101, 150, 3)
    path = tmp_path / "image.png"
    Image.fromarray(RANDOM.integers(0, 256, shape, dtype=np.uint8)).save(path)
    return path


def resolved(project, image: Path, *overrides: str) -> Framing:
    return framing_of(project(TILES, *overrides), [Sample(image, 0, "", "", "0" * 64)])


def put_together(large) -> np.ndarray:
    height, width = large.cells
    whole = np.full((height * 16, width * 16, 3), -1, int)
    for tile in large.tiles():
        part = whole[tile.row * 16 : tile.row * 16 + 48, tile.column * 16 : tile.column * 16 + 48]
        assert ((part == -1) | (part == tile.pixels)).all()
        part[:] = tile.pixels
    return whole


def test_tiles_put_together_are_the_image(project, image):
    with opened_large(image, resolved(project, image)) as large:
        whole = put_together(large)
    np.testing.assert_array_equal(whole[:101, :150], np.asarray(Image.open(image).convert("RGB")))
    assert (whole[101:, :150] == whole[100, :150]).all()  # the edge goes on to the next multiple of 16


def test_a_region_that_is_turned_is_cut_before_it_is_tiled(project, image, tmp_path):
    framing = resolved(project, image, "data.region=[20, 10, 100, 64]")
    turned, exif = tmp_path / "turned.png", Image.Exif()
    exif[274] = 6
    with Image.open(image) as upright:
        upright.transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif)
        expected = np.asarray(upright.convert("RGB"))[10:74, 20:120]
    with opened_large(turned, framing) as large:
        np.testing.assert_array_equal(put_together(large)[:64, :100], expected)
        assert large.extent.box_of(large.cells, slice(0, 1), slice(0, 1)) == (20, 10, 36, 26)


def test_tiles_that_a_mask_hides_are_left_out_and_others_show_gray_there(project, image, tmp_path):
    mask = np.full((101, 150), 255, np.uint8)
    mask[:, :70] = 0
    Image.fromarray(mask).save(tmp_path / "mask.png")
    with opened_large(image, resolved(project, image, "data.ignore_mask=mask.png")) as large:
        tiles = list(large.tiles())
        assert {tile.column for tile in tiles} == {2, 4, 6, 7}  # the first, at 0, is hidden
        assert (tiles[0].pixels[:, : 70 - 32] == HIDDEN).all() and (tiles[0].pixels[:, 40:] != HIDDEN).any()
        assert large.shown is not None and large.shown[0].tolist() == [False] * 4 + [True] * 6
    Image.new("RGB", (300, 202)).save(tmp_path / "other.png")
    framing = resolved(project, image, "data.ignore_mask=mask.png")
    expected = r"other\.png: expected a region of 150 x 101 px .*data\.ignore_mask.*received 300 x 202 px"
    with pytest.raises(ImageError, match=expected), opened_large(tmp_path / "other.png", framing):
        pass


def test_scaled_tiles_come_from_the_resized_image(project, image):
    framing = resolved(project, image, "data.tiles.scale=0.5")
    with opened_large(image, framing) as large:
        found = put_together(large)[:50, :75]
    expected = Image.open(image).resize((75, 50), Image.Resampling.BILINEAR).convert("RGB")
    np.testing.assert_array_equal(found, np.asarray(expected))


def test_the_cache_holds_the_small_picture_that_inspection_compares(project, image, tmp_path):
    framing, sample = resolved(project, image), Sample(image, 0, "", "", "0" * 64)
    store, unreadable = decoded([sample], framing, tmp_path)
    assert not unreadable
    with opened_large(image, framing) as large:
        np.testing.assert_array_equal(store.rows([sample.sha256])[0], large.overview())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            ["data.tiles={size: 128, overlap: 16}"],
            "data.tiles: expected at least 128 x 128 px.*received 150 x 101 px",
        ),
        (["data.tiles={size: 48, overlap: 48}"], "overlap to be at most size - 16, 32, not 48"),
        (["data.tiles={size: 50, overlap: 8}"], "data.tiles.size: expected a multiple of 16"),
        (["data.tiles.scale=0"], "data.tiles.scale: expected a number, 0 < x <= 1"),
        (["data.region=[0, 0, 40, 40]"], "data.tiles: expected at least 48 x 48 px.*received 40 x 40 px"),
    ],
)
def test_tiles_that_do_not_fit_name_the_key(project, image, settings, says):
    with pytest.raises(ConfigError, match=says):
        resolved(project, image, *settings)


def test_an_image_smaller_than_a_tile_is_refused(project, image, tmp_path):
    Image.new("RGB", (200, 32)).save(tmp_path / "flat.png")
    expected = r"flat\.png: expected at least 48 x 48 px, the size of a tile.*received 200 x 32 px"
    with (
        pytest.raises(ImageError, match=expected),
        opened_large(tmp_path / "flat.png", resolved(project, image)),
    ):
        pass


@pytest.mark.parametrize("pages", ["refuse", "all"])
def test_a_file_with_several_pages_is_refused_with_what_works_with_tiles(project, tmp_path, pages):
    path, page = tmp_path / "pages.tiff", Image.new("L", (64, 48))
    page.save(path, save_all=True, append_images=[page])
    with (
        pytest.raises(ImageError, match=r"2 pages; tiles are cut from one page.*data\.pages to first"),
        opened_large(path, resolved(project, path), pages=pages),
    ):
        pass
    with opened_large(path, resolved(project, path), pages="first") as large:
        assert large.size == (64, 48)
