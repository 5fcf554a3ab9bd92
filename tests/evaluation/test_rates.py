import math

import pytest
from scipy.stats import binom, binomtest

from defect_detection.evaluation.rates import Rate, clopper_pearson, defectives_needed, escape_limit, percent


@pytest.mark.parametrize(("count", "total"), [(0, 40), (3, 120), (60, 120), (119, 120), (7, 7)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_interval_agrees_with_scipy(count, total, confidence):
    exact = binomtest(count, total).proportion_ci(confidence, method="exact")
    assert clopper_pearson(count, total, confidence) == pytest.approx((exact.low, exact.high), abs=1e-12)


@pytest.mark.parametrize(("count", "total"), [(-1, 5), (6, 5)])
def test_a_rate_outside_0_to_1_is_refused(count, total):
    with pytest.raises(ValueError, match=f"received {count}/{total}"):
        Rate.of(count, total)


def test_a_rate_of_nothing_is_unknown():
    rate = Rate.of(0, 0)
    assert (rate.low, rate.high, str(rate)) == (0.0, 1.0, "unknown (no such image)")
    assert escape_limit(0, 0) == 1.0
    with pytest.raises(ValueError, match="received 0/0"):
        clopper_pearson(0, 0)


def test_rate_reads_as_fraction_percentage_and_interval():
    assert str(Rate.of(3, 120)) == "3/120 (2.5 %, 95 % CI 0.5 to 7.1 %)"
    assert str(Rate.of(0, 40)) == "0/40 (0 %, 95 % CI 0 to 8.8 %)"


def test_rate_survives_json():
    rate = Rate.of(3, 120, 0.9)
    assert Rate.model_validate_json(rate.model_dump_json()) == rate


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0, "0"), (1, "100"), (0.025, "2.5"), (2999 / 3000, "99.97"), (1 / 3000, "0.03"), (1e-9, "1e-07")],
)
def test_percent_says_0_or_100_only_when_it_is_so(fraction, text):
    assert percent(fraction) == text


def test_299_defectives_without_an_escape_show_1_percent():
    assert defectives_needed(0.01) == 299 == math.ceil(math.log(0.05) / math.log(0.99))
    assert escape_limit(0, 299) <= 0.01 < escape_limit(0, 298)


@pytest.mark.parametrize(("limit", "escapes"), [(0.1, 0), (0.05, 2), (0.01, 3), (0.001, 1)])
def test_number_of_defectives_needed_is_the_smallest_that_shows_the_limit(limit, escapes):
    needed = defectives_needed(limit, escapes)
    assert binom.cdf(escapes, needed, limit) <= 0.05 < binom.cdf(escapes, needed - 1, limit)
    assert escape_limit(escapes, needed) <= limit < escape_limit(escapes, needed - 1)


@pytest.mark.parametrize("limit", [0, 1, -0.1])
def test_no_number_of_images_shows_an_impossible_limit(limit):
    with pytest.raises(ValueError, match="between 0 and 1"):
        defectives_needed(limit)
