"""Images unlike the training images are detected by a few figures; ordinary images are not affected."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from defect_detection.data.reference import Reference, learn_reference, look_of

SIDE = 64


def part(rng: np.random.Generator) -> np.ndarray:
    """Draw a gray, grainy part under light that varies a little."""
    gray = rng.normal(rng.normal(140, 4), 8, (SIDE, SIDE)) + np.linspace(-20, 20, SIDE)
    gray[16:48, 16:48] -= 40
    return np.repeat(gray.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def learned(count: int, seed: int = 0) -> Reference:
    rng = np.random.default_rng(seed)
    looks = np.array([look_of(part(rng)) for _ in range(count)])
    return learn_reference(looks, np.full((count, 2), SIDE), np.arange(count) % 5)


def strange() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(9)
    flat = np.ones((SIDE, SIDE, 3))
    ramp = np.broadcast_to(np.linspace(0, 255, SIDE)[:, None], (SIDE, SIDE, 3))
    bars = np.array([[191, 191, 191], [191, 191, 0], [0, 191, 191], [0, 191, 0], [191, 0, 191], [191, 0, 0]])
    ordinary = part(rng)
    blurred = Image.fromarray(ordinary).filter(ImageFilter.GaussianBlur(4))
    images = {
        "black": flat * 0,
        "white": flat * 255,
        "noise": rng.integers(0, 256, (SIDE, SIDE, 3)),
        "covered lens": rng.normal(8, 2, (SIDE, SIDE, 3)).clip(0, 255),
        "gradient": ramp,
        "colour bars": np.broadcast_to(bars[np.arange(SIDE) * 6 // SIDE], (SIDE, SIDE, 3)),
        "out of focus": np.asarray(blurred),
        "underexposed": ordinary * 0.3,
        "upside down in light and dark": 255 - ordinary,
    }
    return {name: np.asarray(image, np.uint8) for name, image in images.items()}


@pytest.mark.parametrize("name", strange())
def test_what_no_training_image_looks_like_is_told(name):
    assert learned(60).reason(look_of(strange()[name]), (SIDE, SIDE))


def test_the_reason_names_the_figure_its_value_and_the_range():
    low, high = learned(60).ranges["brightness"]
    reason = learned(60).reason(look_of(strange()["black"]), (SIDE, SIDE))
    assert reason and reason.startswith(
        f"brightness 0 is outside {low:.0f} to {high:.0f}, the range of the training images (also outside: contrast, "
    )


@pytest.mark.parametrize("count", [12, 60, 400])
def test_ordinary_images_are_left_alone_however_few_were_learned_from(count):
    rng, reference = np.random.default_rng(5), learned(count)
    reasons = [reference.reason(look_of(part(rng)), (SIDE, SIDE)) for _ in range(400)]
    assert sum(reason is not None for reason in reasons) <= 0.005 * 400


@pytest.mark.parametrize("count", [4, 12])
def test_few_training_images_still_tell_a_black_frame_and_a_white_one(count):
    assert all(learned(count).reason(look_of(strange()[name]), None) for name in ("black", "white"))


def test_training_images_lie_within_their_own_ranges():
    rng = np.random.default_rng(0)
    looks = [look_of(part(rng)) for _ in range(12)]
    assert {learned(12).reason(look, (SIDE, SIDE)) for look in looks} == {None}


def test_the_size_and_shape_of_the_file_count_where_there_is_a_file():
    look = look_of(part(np.random.default_rng(1)))
    reference = learned(60)
    assert reference.reason(look, None) is None
    assert "image size (px) 640 is outside 32 to 128" in str(reference.reason(look, (640, 640)))
    assert "width / height 2 is outside" in str(reference.reason(look, (90, 45)))


def test_margins_grow_where_held_out_images_lie_outside():
    rng = np.random.default_rng(0)
    images = [part(rng) for _ in range(100)]
    # The fifth day has a light of its own; where a fold is a day, it lies outside those of the others.
    days = [(image * (0.5 if place % 5 == 4 else 1)).astype(np.uint8) for place, image in enumerate(images)]
    looks, sizes = np.array([look_of(image) for image in days]), np.full((100, 2), SIDE)
    mixed = learn_reference(looks, sizes, np.arange(100) // 20)
    by_day = learn_reference(looks, sizes, np.arange(100) % 5)
    assert by_day.ranges["brightness"][0] < mixed.ranges["brightness"][0]
    assert by_day.ranges["brightness"][1] > mixed.ranges["brightness"][1]
