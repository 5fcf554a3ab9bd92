"""Patterns that find the part in the name of a file."""

import pytest

from defect_detection.data.name_pattern import NamePattern
from defect_detection.errors import DataError


@pytest.mark.parametrize(
    ("pattern", "name", "part"),
    [
        ("{part}_*.png", "A17_cam2.png", "A17"),
        ("{part}_*.png", "A17_cam2.jpg", None),
        ("{part}_*", "A17_cam_2.jpg", "A17"),
        ("line*-{part}", "line3-b-7.tif", "b-7"),
        ("*_p{part}.bmp", "x_y_p9.bmp", "9"),
        ("{part}", "whole.png", "whole"),
        ("a*b{part}b", "aab.png", None),
        ("_{part}_", "__.png", None),
        ("(a*)+{part}$", "(aaaa)+7$.png", "7"),
    ],
)
def test_a_pattern_finds_the_part(pattern, name, part):
    assert NamePattern.of(pattern).part_of(name) == part


@pytest.mark.parametrize(
    "pattern", ["", "*.png", "{part}{part}", "{part}*", "**{part}", "x" * 300 + "{part}"]
)
def test_a_pattern_without_a_clear_place_for_the_part_is_refused(pattern):
    with pytest.raises(DataError, match="pattern: expected"):
        NamePattern.of(pattern)


def test_a_hostile_pattern_takes_linear_time():
    assert NamePattern.of("a*" * 90 + "a{part}b").part_of("a" * 250 + ".png") is None
