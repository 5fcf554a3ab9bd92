"""Decoding has limits on time and memory, and plain files never wait for slow ones."""

import io
import threading

import numpy as np
import pytest
from hostile import die, wait_for
from PIL import Image

from benchmarks.hostile import HOSTILE, chunk, encoded, jpeg_of_scans, png, tiff
from defect_detection.data.bounded import bounded, look_at
from defect_detection.data.bounds import DEFAULT_LIMITS, Allowance, Limits
from defect_detection.data.decoder_pool import DecoderPool
from defect_detection.data.images import choice_of, decode_pages, read_image
from defect_detection.errors import ImageError

SCANS = jpeg_of_scans(1000, 3000)  # more than 2 s of any core
PAGES = HOSTILE["PNG of two pages"]()  # not plain, and quick
RGB = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8))


def limits(seconds: float = 10.0, memory: int = 250_000_000, check=lambda: None) -> Limits:
    allowance = Allowance(0, DEFAULT_LIMITS, check)
    allowance.seconds, allowance.memory = seconds, memory
    return Limits(allowance=allowance)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_read_or_refused_outside_of_the_thread_that_asks(name):
    content = HOSTILE[name]()
    assert len(content) <= 1_000_000
    found = look_at(content)
    assert not found.is_quick("reduced")
    try:
        assert read_image(content, (32, 32), pages="first").shape == (32, 32, 3)
    except ImageError as error:
        assert str(error).startswith(f"image of {len(content)} bytes: ")


@pytest.mark.parametrize(
    "content",
    [
        *(encoded(RGB.convert(mode), "PNG") for mode in ("RGB", "L", "1", "P", "RGBA", "I;16")),
        *(encoded(RGB.convert(mode), "JPEG") for mode in ("RGB", "L", "CMYK")),
        *(
            encoded(RGB, "TIFF", compression=one)
            for one in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits")
        ),
        encoded(RGB, "BMP"),
        encoded(RGB, "WEBP"),
        encoded(RGB, "WEBP", lossless=True),
        png(60, chunk(b"tEXt", b"Software\0camera"), coding=(8, 2)),
        tiff(40, 50, 25, 2),
    ],
)
def test_an_ordinary_file_is_plain(content, tmp_path):
    path = tmp_path / "part"
    path.write_bytes(content)
    found = look_at(content)
    assert found.is_quick("full")
    assert (found.width, found.height) in ((40, 50), (60, 60))
    assert read_image(path).shape == (found.height, found.width, 3)


def test_a_file_that_takes_too_long_or_too_much_is_refused_and_the_next_one_is_read():
    with pytest.raises(
        ImageError, match=r"bytes: takes more than 0\.2 s of processor time, the limit for a file"
    ):
        read_image(SCANS, limits=limits(seconds=0.2))
    with pytest.raises(ImageError, match="bytes: needs more memory than allowed for a file of this size"):
        read_image(HOSTILE["PNG with alpha"](), limits=limits(memory=50_000_000))
    assert read_image(PAGES, pages="first").shape == (64, 64, 3)


def test_what_is_decoded_in_a_process_is_the_same():
    content = encoded(RGB, "JPEG", progressive=True)
    assert not look_at(content).is_plain
    here = decode_pages(content, io.BytesIO(content), Limits(), None, None, choice_of("refuse"))
    assert np.array_equal(read_image(content), here[0].pixels)


def test_the_end_of_a_process_costs_its_file_only():
    with pytest.raises(ImageError, match="ended the decoding process"):
        bounded(die, "full", PAGES, Limits())
    assert read_image(PAGES, pages="first").shape == (64, 64, 3)


def test_plain_files_pass_one_that_takes_long(tmp_path):
    results = []
    end = tmp_path / "end"
    thread = threading.Thread(
        target=lambda: results.append(bounded(wait_for, "full", PAGES, limits(), path=end))
    )
    thread.start()
    assert read_image(encoded(RGB, "PNG")).shape == (50, 40, 3)
    assert results == []
    end.touch()
    thread.join()
    assert results == ["done"]


def test_nothing_is_decoded_for_a_client_that_has_gone(tmp_path):
    class GoneError(Exception):
        pass

    asked = []

    def check() -> None:
        asked.append(1)
        if len(asked) > 2:  # it leaves while the process works
            raise GoneError

    pool = DecoderPool(1)
    arguments = (wait_for, PAGES, Limits(), (tmp_path / "never",), {})
    with pytest.raises(GoneError):
        pool.ask(*arguments, limits(check=check).allowance, "part.png")
    (tmp_path / "never").touch()
    assert pool.ask(*arguments, limits().allowance, "part.png") == "done"
    pool.close()


def test_files_of_one_request_share_their_time():
    shared = limits(seconds=0.2)
    with pytest.raises(ImageError, match="takes more than"):
        read_image(SCANS, limits=shared)
    for content in (SCANS, encoded(RGB, "PNG")):
        with pytest.raises(ImageError, match=r"not decoded: the earlier images used all of the 0\.2 s"):
            read_image(content, limits=shared)


def test_a_longer_side_is_refused():
    with pytest.raises(
        ImageError, match=r"at most 16384 px per side \(data.max_side\), received 100000000 x 1"
    ):
        read_image(HOSTILE["BMP of runs, very wide"]())
