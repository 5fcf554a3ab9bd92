"""The comparison of a line with what its model learned: what is noticed, what is not, and which cause is named."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from defect_detection.evaluation.drift import (
    Baseline,
    cause_of,
    compare,
    difference,
    level_of,
    persistence_of,
)

RNG = np.random.default_rng(7)
USUAL = {name: RNG.normal(size=400) for name in ("score", "novelty")} | {
    name: RNG.normal(100, 10, 400) for name in ("brightness", "contrast", "sharpness", "colour_balance")
}
BASELINE = Baseline.of(USUAL, 400)
LEVEL = level_of(1, 1, 6)


def window(**moved: float) -> dict[str, np.ndarray]:
    """Return 500 inspections of the same line; some figures are so much higher."""
    return {
        name: RNG.normal(values.mean(), values.std(), 500) + moved.get(name, 0)
        for name, values in USUAL.items()
    }


def alarms(*windows: dict[str, np.ndarray], defect_rate: float = 0.01) -> dict[str, int]:
    found = compare(windows, BASELINE, level=LEVEL, persistence=3, defect_rate=defect_rate)
    return {one.name: one.difference.sign for one in found if one.alarm}


def cause(*windows: dict[str, np.ndarray]) -> str | None:
    return cause_of(compare(windows, BASELINE, level=LEVEL, persistence=3, defect_rate=0.01))


def test_the_level_is_shared_by_all_looks_of_a_year_and_all_figures():
    assert level_of(1, 1, 6) == pytest.approx(1 / (365.25 * 24 * 6))
    assert level_of(2, 0.5, 3) == pytest.approx(2 / (365.25 * 48 * 3))


def test_the_test_is_scipys_two_sample_kolmogorov_smirnov_test():
    values, usual = RNG.normal(0.4, 1, 300), BASELINE.quantiles["novelty"]
    expected = ks_2samp(values - 0.1, usual, alternative="less", method="asymp")
    found = difference(values, usual, "novelty", tolerated=0)
    assert (found.distance, found.p) == (expected.statistic, expected.pvalue)


def test_a_line_like_its_baseline_differs_less_often_than_the_level():
    usual = BASELINE.quantiles["brightness"]
    p = [difference(RNG.normal(100, 10, 500), usual, "brightness", tolerated=0.0).p for _ in range(400)]
    assert np.mean(np.array(p) < 0.05) <= 0.05


def test_a_shift_of_every_window_is_an_alarm_with_its_direction():
    assert alarms(*[window(brightness=-13) for _ in range(3)]) == {"brightness": -1}
    assert alarms(*[window(brightness=13) for _ in range(3)]) == {"brightness": 1}


def test_scores_and_novelties_below_those_of_held_out_images_are_usual():
    assert alarms(*[window(score=-2, novelty=-2) for _ in range(3)]) == {}


def test_an_odd_batch_is_no_alarm_wherever_it_lies():
    odd = window(brightness=60, novelty=5)
    for place in range(3):
        windows = [window(), window()]
        windows.insert(place, odd)
        assert alarms(*windows) == {}


def test_windows_that_differ_in_opposite_directions_are_no_alarm():
    assert alarms(window(contrast=20), window(contrast=-20), window(contrast=20)) == {}


def test_the_usual_share_of_defective_parts_may_be_anything():
    def with_defects(share: float) -> dict[str, np.ndarray]:
        values = window()
        for name in values:
            values[name][: round(500 * share)] += 1000
        return values

    assert alarms(*[with_defects(0.05) for _ in range(3)]) == {}
    assert set(alarms(*[with_defects(0.4) for _ in range(3)])) == USUAL.keys()
    assert alarms(*[with_defects(0.4) for _ in range(3)], defect_rate=0.4) == {}


def test_a_figure_that_never_varies_may_differ_by_rounding():
    baseline = Baseline.of({"sharpness": np.full(100, 7.0)}, 100)
    same = {"sharpness": np.full(500, 7.00001)}
    (found,) = compare([same] * 3, baseline, level=LEVEL, persistence=3, defect_rate=0.01)
    assert not found.in_a_row


def test_the_camera_is_named_first_since_dim_images_are_novel_too():
    assert cause(*[window(brightness=-30, novelty=3) for _ in range(3)]) == "camera"
    assert cause(*[window(novelty=3) for _ in range(3)]) == "parts"
    assert cause(*[window() for _ in range(3)]) is None


def test_few_parts_give_no_baseline_and_their_copies_count_once():
    assert Baseline.of({"brightness": np.arange(19.0)}, 19) is None
    assert Baseline.of({"brightness": np.arange(1000.0)}, 3) is None
    assert len(Baseline.of({"brightness": np.arange(1000.0)}, 25).quantiles["brightness"]) == 25


def test_a_figure_that_was_not_recorded_is_left_out():
    windows = [window() for _ in range(3)]
    for one in windows:
        del one["novelty"]
    found = compare(windows, BASELINE, level=LEVEL, persistence=3, defect_rate=0.01)
    assert {one.name for one in found} == USUAL.keys() - {"novelty"}


def test_an_alarm_of_one_of_several_places_needs_more_windows_in_a_row():
    assert [persistence_of(3, count) for count in (0, 1, 2, 8, 9, 64, 65)] == [3, 3, 4, 4, 5, 5, 6]
