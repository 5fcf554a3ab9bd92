"""Files of several pages: TIFF, animations, JPEG with several pictures."""

import io

import numpy as np
import pytest
import tifffile
from drawn import jpeg_of_several
from PIL import Image

from defect_detection.data.bounds import Limits
from defect_detection.data.decoders import MOST_PAGES
from defect_detection.data.images import read_header, read_image, read_pages
from defect_detection.errors import ImageError

SIZE = (24, 16)  # (width, height)
COLOURS = (40, 90, 160, 220)
PICTURES = [Image.new("RGB", SIZE, (value, value, value)) for value in COLOURS]


def several(format: str, pictures: list[Image.Image] = PICTURES, **options: object) -> bytes:
    buffer = io.BytesIO()
    pictures[0].save(buffer, format, save_all=True, append_images=pictures[1:], **options)
    return buffer.getvalue()


def jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.copy().save(buffer, "JPEG", quality=95)  # it leaves its settings on the image
    return buffer.getvalue()


JPEGS = [jpeg(picture) for picture in PICTURES]
VIEW, THUMBNAIL, MAIN, UNSTATED = 0x020002, 0x010001, 0x030000, 0
FILES = {
    "TIFF": several("TIFF"),
    "compressed TIFF": several("TIFF", compression="tiff_lzw"),
    "BigTIFF": several("TIFF", big_tiff=True),
    "animated PNG": several("PNG"),
    "animated PNG after another picture": several("PNG", default_image=True),
    "animated WebP": several("WEBP", lossless=True),
    "JPEG of several views": jpeg_of_several(JPEGS, [MAIN, VIEW, VIEW, VIEW]),
    "JPEG of several pictures": jpeg_of_several(JPEGS, [MAIN, UNSTATED, UNSTATED, UNSTATED]),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_several_pages_is_refused_with_that_reason(tmp_path, name):
    path = tmp_path / "views.img"
    path.write_bytes(FILES[name])
    for source in (path, FILES[name]):
        with pytest.raises(ImageError, match=r"4 pages; data\.pages says refuse"):
            read_image(source)
        with pytest.raises(ImageError, match=r"4 pages; data\.pages says refuse"):
            list(read_pages(source))
    with pytest.raises(ImageError, match="4 pages; a label belongs to one page"):
        read_image(path, pages="all")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("size", [None, (8, 8)])
def test_the_first_page_or_all_of_them_are_read(name, size):
    assert read_image(FILES[name], size, pages="first").mean() == pytest.approx(COLOURS[0], abs=2)
    assert len(list(read_pages(FILES[name], size, pages="first"))) == 1
    found = [page.pixels.mean() for page in read_pages(FILES[name], size, pages="all")]
    assert found == pytest.approx(COLOURS, abs=2)


def test_pages_may_differ_in_size_kind_and_turn():
    buffer = io.BytesIO()
    turned = np.zeros((6, 9), np.uint8)
    turned[:, :3] = 200  # left; upright it is at the top
    with tifffile.TiffWriter(buffer) as tiff:
        tiff.write(np.full((8, 12), 30000, np.uint16), photometric="minisblack", metadata=None)
        tiff.write(turned, photometric="miniswhite", metadata=None, extratags=[(274, "H", 1, 6, True)])
        tiff.write(np.full((5, 5, 3), 77, np.uint8), photometric="rgb", metadata=None)
    first, second, third = (page.pixels for page in read_pages(buffer.getvalue(), pages="all"))
    assert (first.shape, first[0, 0, 0]) == ((8, 12, 3), 30000 // 257)
    assert second.shape == (9, 6, 3)
    assert (second[:3] == 55).all()
    assert (second[3:] == 255).all()
    assert (third.shape, third[0, 0, 0]) == ((5, 5, 3), 77)


@pytest.mark.parametrize("kinds", [(0, 1), (1, 0), (0, 4), (0, 1, 4)])
def test_smaller_copies_and_masks_of_a_tiff_are_no_pages(kinds):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as tiff:
        for kind in kinds:
            picture = np.full((16, 24), 90, np.uint8) if kind == 0 else np.full((8, 12), 200, np.uint8)
            picture = picture > 0 if kind == 4 else picture
            photometric = "mask" if kind == 4 else "minisblack"
            tiff.write(picture, photometric=photometric, subfiletype=kind, metadata=None)
    assert read_header(buffer.getvalue())[:2] == (24, 16)
    for pages in ("refuse", "first", "all"):
        (page,) = read_pages(buffer.getvalue(), pages=pages)
        assert (page.pixels.shape, page.pixels[0, 0, 0], page.size) == ((16, 24, 3), 90, (24, 16))


def test_a_smaller_copy_that_an_older_tag_names_is_no_page():
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as tiff:
        tiff.write(np.full((16, 24), 90, np.uint8), photometric="minisblack", metadata=None)
        older = [(255, "H", 1, 2, True)]
        tiff.write(np.full((8, 12), 9, np.uint8), photometric="minisblack", metadata=None, extratags=older)
    assert read_image(buffer.getvalue()).shape == (16, 24, 3)


def test_a_tiff_of_smaller_copies_only_is_refused():
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as tiff:
        for _ in range(2):
            tiff.write(np.zeros((8, 8), np.uint8), photometric="minisblack", subfiletype=1, metadata=None)
    with pytest.raises(ImageError, match="received only reduced-size copies or masks"):
        read_image(buffer.getvalue())


def test_a_stack_behind_one_page_counts_its_images():
    buffer = io.BytesIO()
    text = "ImageJ=1.54f\nimages=4\nslices=4\nloop=false\n"
    tifffile.imwrite(
        buffer, np.zeros((8, 8), np.uint16), photometric="minisblack", metadata=None, description=text
    )
    with pytest.raises(ImageError, match="4 pages"):
        read_image(buffer.getvalue())
    assert read_image(buffer.getvalue(), pages="first").shape == (8, 8, 3)
    with pytest.raises(ImageError, match="cannot be decoded"):
        list(read_pages(buffer.getvalue(), pages="all"))


@pytest.mark.parametrize(
    ("second", "kind"),
    [
        (JPEGS[1], THUMBNAIL),
        (jpeg(PICTURES[1].resize((12, 8))), UNSTATED),  # such as a map of brightness
        (b"cut off by another program", UNSTATED),
    ],
)
def test_thumbnails_and_maps_in_a_jpeg_are_no_pages(second, kind):
    data = jpeg_of_several([JPEGS[0], second], [MAIN, kind])
    for pages in ("refuse", "all"):
        (page,) = read_pages(data, pages=pages)
        assert page.pixels.mean() == pytest.approx(COLOURS[0], abs=2)


def test_a_single_frame_is_no_animation():
    for format in ("PNG", "WEBP", "TIFF", "MPO"):
        assert read_image(several(format, PICTURES[:1])).shape == (16, 24, 3)


def test_the_limit_of_pixels_holds_for_all_pages_together():
    data = FILES["TIFF"]
    assert len(list(read_pages(data, limits=Limits(4 * 24 * 16), pages="all"))) == 4
    with pytest.raises(
        ImageError, match=r"expected at most 1535 pixels \(data.max_pixels\), received 24 x 16 as page 4"
    ):
        list(read_pages(data, limits=Limits(4 * 24 * 16 - 1), pages="all"))


@pytest.mark.parametrize("format", ["TIFF", "PNG", "WEBP"])
def test_more_pages_than_anyone_looks_at_are_refused(format):
    pages = [Image.new("L", (4, 4), 2 * number) for number in range(MOST_PAGES + 1)]
    buffer = io.BytesIO()
    pages[0].save(buffer, format, save_all=True, append_images=pages[1:], lossless=True)
    with pytest.raises(ImageError, match="expected at most 100 pages, received more"):
        read_image(buffer.getvalue(), pages="first")
