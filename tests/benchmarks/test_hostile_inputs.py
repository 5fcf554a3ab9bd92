"""The inputs of the benchmark `hostile`: the same by seed, and judged by what Pillow reads."""

from PIL import Image

from benchmarks.hostile import encoded
from benchmarks.refusals import SIDE, Input, _is_wrong, damaged_images


def test_the_same_seed_draws_the_same_images_of_each_kind_and_another_one_others():
    first, again, other = ([one.content for one in damaged_images(80, seed)] for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first)) > 70
    assert len({one.kind for one in damaged_images(80)}) == 6


def test_what_pillow_cannot_read_and_what_would_change_something_must_not_be_accepted():
    image = encoded(Image.new("RGB", (SIDE, SIDE)), "PNG")
    assert not _is_wrong(Input("", b"", image))
    assert _is_wrong(Input("", b"", image[:-30]))
    assert [_is_wrong(Input("", b"", may_pass=passes)) for passes in (True, False)] == [False, True]
