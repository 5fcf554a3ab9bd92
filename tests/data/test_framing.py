"""What a model sees of an image: region, padding, mask, and the settings that say so."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defect_detection.data.extent import Box
from defect_detection.data.framed import framing_of
from defect_detection.data.framing import HIDDEN, Framing
from defect_detection.data.images import read_image, read_pages
from defect_detection.data.samples import Sample
from defect_detection.errors import ConfigError, ImageError

RANDOM = np.random.default_rng(0)


@pytest.fixture
def image(tmp_path) -> Path:
    """200 x 100 px of noise."""
    path = tmp_path / "image.png"
    Image.fromarray(RANDOM.integers(0, 256, (100, 200, 3), dtype=np.uint8)).save(path)
    return path


def resolved(project, image: Path, *overrides: str) -> Framing:
    return framing_of(project(*overrides), [Sample(image, 0, "", "", "0" * 64)])


def write_mask(path: Path, shape: tuple[int, int], hidden: tuple[slice, slice], black: int = 0) -> Path:
    mask = np.full(shape, 255, np.uint8)
    mask[hidden] = black
    Image.fromarray(mask).save(path)
    return path


@pytest.mark.parametrize("region", ["[20, 10, 100, 50]", "[0.1, 0.1, 0.5, 0.5]"])
def test_a_region_gives_what_a_cut_image_gives(project, image, tmp_path, region):
    framing = resolved(project, image, f"data.region={region}")
    cut = tmp_path / "cut.png"
    Image.open(image).crop((20, 10, 120, 60)).save(cut)
    np.testing.assert_array_equal(read_image(image, framing), read_image(cut, (32, 32)))
    (page,) = read_pages(image, framing)
    assert page.extent.region == Box(20, 10, 120, 60)
    assert page.extent.box_of((2, 2), slice(1, 2), slice(0, 1)) == Box(20, 35, 70, 60)


def test_the_region_is_of_the_upright_image(project, image, tmp_path):
    framing = resolved(project, image, "data.region=[20, 10, 100, 50]")
    turned, exif = tmp_path / "turned.png", Image.Exif()
    exif[274] = 6
    with Image.open(image) as upright:
        upright.transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif)
    np.testing.assert_array_equal(read_image(turned, framing), read_image(image, framing))


def test_padding_keeps_the_shape_and_repeats_the_edge(project, image):
    framing = resolved(project, image, "data.resize=keep_aspect", "data.image_size=[32, 32]")
    found, inner = read_image(image, framing), read_image(image, (16, 32))
    np.testing.assert_array_equal(found[8:24], inner)
    np.testing.assert_array_equal(found[:8], np.broadcast_to(inner[0], (8, 32, 3)))
    assert framing.seen is not None and framing.seen[8:24].all() and framing.seen.sum() == 16 * 32
    extent = framing.extent(200, 100)
    assert (extent.left, extent.top, extent.width, extent.height) == (0, -50, 200, 200)


def test_an_image_of_another_shape_gets_padding_inside_that_of_the_others(project, image, tmp_path):
    framing = resolved(project, image, "data.resize=keep_aspect")
    square = tmp_path / "square.png"
    Image.fromarray(RANDOM.integers(0, 256, (50, 50, 3), dtype=np.uint8)).save(square)
    np.testing.assert_array_equal(read_image(square, framing)[8:24, 8:24], read_image(square, (16, 16)))
    assert framing.extent(50, 50).box_of((2, 2), slice(0, 2), slice(0, 2)) == Box(0, 0, 50, 50)


def test_what_a_mask_hides_is_gray_and_nothing_of_it_leaks(project, image, tmp_path):
    mask = write_mask(tmp_path / "mask.png", (100, 200), (slice(0, 40), slice(0, 77)))
    framing = resolved(project, image, f"data.ignore_mask={mask}", "data.image_size=[64, 96]")
    other = np.asarray(Image.open(image)).copy()
    other[:40, :77] = 255
    Image.fromarray(other).save(tmp_path / "other.png")
    found = read_image(image, framing)
    assert framing.shown is not None and (found[~framing.shown] == HIDDEN).all()
    np.testing.assert_array_equal(read_image(tmp_path / "other.png", framing), found)
    np.testing.assert_array_equal(found[framing.shown], read_image(image, (64, 96))[framing.shown])


def test_a_mask_of_the_whole_image_is_cut_as_the_image_is(project, image, tmp_path):
    region = "data.region=[20, 10, 100, 50]"
    whole = write_mask(tmp_path / "whole.png", (100, 200), (slice(10, 35), slice(20, 70)))
    of_region = write_mask(tmp_path / "region.png", (50, 100), (slice(0, 25), slice(0, 50)))
    masked = [resolved(project, image, region, f"data.ignore_mask={path}") for path in (whole, of_region)]
    assert masked[0] == masked[1]


def test_an_image_of_another_size_than_the_region_is_made_for_is_refused(project, image, tmp_path):
    framing = resolved(project, image, "data.region=[20, 10, 100, 50]")
    Image.new("RGB", (400, 200)).save(tmp_path / "large.png")
    expected = r"large\.png: expected 200 x 100 px, .*data\.region in pixels.*received 400 x 200 px"
    with pytest.raises(ImageError, match=expected):
        read_image(tmp_path / "large.png", framing)
    fractions = resolved(project, image, "data.region=[0.1, 0.1, 0.5, 0.5]")
    assert read_image(tmp_path / "large.png", fractions).shape == (32, 32, 3)


def test_an_image_of_another_shape_than_the_mask_is_made_for_is_refused(project, image, tmp_path):
    mask = write_mask(tmp_path / "mask.png", (100, 200), (slice(0, 40), slice(0, 77)))
    framing = resolved(project, image, f"data.ignore_mask={mask}")
    Image.new("RGB", (200, 200)).save(tmp_path / "square.png")
    with pytest.raises(ImageError, match=r"expected the shape of 200 x 100 px, .*data\.ignore_mask"):
        read_image(tmp_path / "square.png", framing)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("region=[150, 0, 100, 50]", r"region inside the images, which have 200 x 100 px, received \[150"),
        ("region=[0, 0, 0, 50]", "a width and a height above 0"),
        ("region=[0.5, 0, 0.001, 1]", "at least 1 x 1 px of the images, which have 200 x 100 px"),
        ("region=[0.5, 0, 0.6, 1]", "left \\+ width and top \\+ height at most 1"),
        ("region=[-5, 0, 50, 50]", "a region inside the image"),
        ("region=[1, 2, 3]", r"null or \[left, top, width, height\]"),
        ("region=[1.5, 2, 30, 40]", r"whole pixels"),
        ("image_size=[224, 100]", r"each a multiple of 16 from 32 to 1024 .*received \[224, 100\]"),
        ("ignore_mask=missing.png", "missing.png: cannot be read"),
    ],
)
def test_settings_that_do_not_fit_the_images_name_file_and_key(project, image, setting, says):
    with pytest.raises(
        ConfigError, match=f"(?s)(config.yaml|override): data.{setting.split('=')[0]}.*{says}"
    ):
        resolved(project, image, f"data.{setting}")


@pytest.mark.parametrize(
    ("shape", "colour", "says"),
    [
        ((50, 50), 0, "size of the region, 200 x 100 px, received .*mask.png with 50 x 50 px"),
        ((100, 200), (255, 0, 0), "a gray image, received .*mask.png, which has colours"),
        ((100, 200), 0, "received .*mask.png, which hides everything"),
    ],
)
def test_a_mask_that_does_not_fit_names_file_and_key(project, image, tmp_path, shape, colour, says):
    Image.fromarray(np.full((*shape, 3), colour, np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(ConfigError, match=f"config.yaml: data.ignore_mask: expected .*{says}"):
        resolved(project, image, f"data.ignore_mask={tmp_path / 'mask.png'}")


def test_a_mask_whose_white_pixels_vanish_when_it_is_resized_is_refused(project, image, tmp_path):
    mask = np.zeros((100, 200), np.uint8)
    mask[50, 100] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    with pytest.raises(
        ConfigError, match=r"mask\.png, which hides everything when it is resized to 32 x 32 px"
    ):
        resolved(project, image, f"data.ignore_mask={tmp_path / 'mask.png'}", "data.image_size=32")


def test_caches_tell_framings_apart_and_know_the_content_of_a_mask(project, image, tmp_path):
    def with_mask(columns: int) -> str:
        mask = write_mask(tmp_path / "mask.png", (100, 200), (slice(0, 40), slice(0, columns)))
        return resolved(project, image, f"data.ignore_mask={mask}").key

    keys = [
        resolved(project, image).key,
        resolved(project, image, "data.region=[0, 0, 0.5, 0.5]").key,
        resolved(project, image, "data.resize=keep_aspect").key,
        with_mask(100),
        with_mask(150),
    ]
    assert keys[0] == ""
    assert len(set(keys)) == 5
