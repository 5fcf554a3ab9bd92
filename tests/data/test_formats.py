"""The list of formats agrees with the decoder, and tells files by their content."""

import io

import pytest
from PIL import Image

from defect_detection.data.image_formats import FORMATS, HEAD_BYTES, format_of


@pytest.mark.parametrize("name", [one.name for one in FORMATS])
def test_a_format_is_told_by_its_first_bytes(name):
    Image.new("RGB", (4, 4)).save(buffer := io.BytesIO(), name.upper())
    assert format_of(buffer.getvalue()[:HEAD_BYTES]).name == name


@pytest.mark.parametrize("content", [b"", b"BMW parts, all of one lot, 2024", b"RIFF....AVI LIST", b"GIF89a"])
def test_other_content_is_no_image(content):
    assert format_of(content) is None
