"""The p-chart, against numbers worked out by hand."""

import pytest

from defect_detection.evaluation.control import p_chart


def test_limits_are_three_sigma_of_each_period_around_the_mean():
    centre, limits = p_chart([10, 6, 0], [100, 64, 36])
    assert centre == pytest.approx(16 / 200)
    sigma = (0.08 * 0.92 / 100) ** 0.5
    assert limits[0].high == pytest.approx(0.08 + 3 * sigma)
    assert limits[0].low == 0.0  # 0.08 - 0.081 is below zero
    assert limits[2].high == pytest.approx(0.08 + 3 * 0.2712932 / 6, abs=1e-6)


def test_few_parts_have_wide_limits_and_none_have_none():
    _, limits = p_chart([1, 100, 0], [10, 1000, 0])
    assert limits[0].high > limits[1].high > 0.1 > limits[1].low > 0
    assert limits[2] is None


def test_without_parts_there_is_no_centre():
    assert p_chart([0, 0], [0, 0]) == (None, [None, None])
