"""A large JPEG is decoded at reduced scale, with the same verdict."""

import io

import numpy as np
import pytest
from PIL import Image
from plant import SIDE, draw_part

LARGE = 8 * SIDE  # px


def photograph(rng: np.random.Generator, defective: bool, mode: str) -> bytes:
    """Return a part as a camera of many pixels would give it: soft edges and grain of its own, as JPEG."""
    part = draw_part(rng, defective).resize((LARGE, LARGE), Image.Resampling.BICUBIC)
    pixels = np.asarray(part).astype(float) + rng.normal(0, 6, (LARGE, LARGE))
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert(mode)
    image.save(buffer := io.BytesIO(), "JPEG", quality=90)
    return buffer.getvalue()


def decoded_in_full(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR).convert("RGB"))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_decoding_at_reduced_scale_flips_no_verdict(inspector, mode):
    rng = np.random.default_rng(7)
    photographs = [photograph(rng, number % 2 == 1, mode) for number in range(60)]
    in_full = list(inspector.inspect(decoded_in_full(data) for data in photographs))
    reduced = list(inspector.inspect(photographs))
    # By the score alone: files eight times as large as those of training are unlike them, and so never OK.
    verdicts = [[inspector.card.verdict(i.score) for i in found] for found in (reduced, in_full)]
    assert verdicts[0] == verdicts[1] == ["ok", "defective"] * 30
    differences = [abs(a.score - b.score) for a, b in zip(reduced, in_full, strict=True)]
    assert 0 < max(differences) < 0.05  # above 0: it was decoded differently


def test_a_jpeg_of_little_more_than_twice_the_size_is_decoded_in_full(inspector):
    """What a smaller one loses could be seen, so its pixels are those of a full decoding."""
    rng = np.random.default_rng(8)
    part = draw_part(rng, True).resize((2 * SIDE + 16, 2 * SIDE + 16), Image.Resampling.BICUBIC)
    part.save(buffer := io.BytesIO(), "JPEG", quality=90)
    full, read = inspector.inspect([decoded_in_full(buffer.getvalue()), buffer.getvalue()])
    assert full.score == pytest.approx(read.score, abs=1e-6)
