"""The review band: outside of it, both error rates are within their limits."""

import numpy as np
import pytest

from defect_detection.evaluation.operating_point import choose_threshold
from defect_detection.evaluation.rates import escape_limit
from defect_detection.evaluation.review_band import ReviewLimits, bound_review_band, review_edges

RANDOM = np.random.default_rng(3)
LABELS = np.repeat([0, 1], [600, 400])
SCORES = 1 / (1 + np.exp(-RANDOM.normal(4 * LABELS - 2, 1.5)))
LIMITS = ReviewLimits(max_escape_rate=0.02, max_overkill_rate=0.03)


def test_outside_of_the_band_both_bounds_are_shown_and_no_narrower_band_shows_them():
    band = bound_review_band(SCORES, LABELS, 0.5, LIMITS)
    escapes, rejects = (SCORES[LABELS == 1] < band.low).sum(), (SCORES[LABELS == 0] >= band.high).sum()
    assert escape_limit(escapes, 400) <= 0.02 < escape_limit(escapes + 1, 400)
    assert escape_limit(rejects, 600) <= 0.03 < escape_limit(rejects + 1, 600)
    assert 0 < band.low < 0.5 < band.high < 1
    assert [(one.kind, one.count, one.met) for one in band.claims] == [
        ("escape", escapes, True),
        ("overkill", rejects, True),
    ]


def test_the_band_is_empty_where_the_threshold_meets_both():
    limits = ReviewLimits(max_escape_rate=0.2, max_overkill_rate=0.2)
    assert bound_review_band(SCORES, LABELS, 0.5, limits).is_empty


@pytest.mark.parametrize("threshold", [0.001, 0.999])
def test_a_threshold_that_breaks_a_limit_is_inside_the_band(threshold):
    limits = ReviewLimits(max_escape_rate=0.2, max_overkill_rate=0.2)
    band = bound_review_band(SCORES, LABELS, threshold, limits)
    assert band.low <= threshold <= band.high
    assert not band.is_empty
    assert all(claim.met for claim in band.claims)


def test_a_balanced_threshold_within_the_edges_leaves_nobody_to_ask():
    limits = ReviewLimits(
        max_escape_rate=0.03, max_overkill_rate=0.4
    )  # met together, but not where balanced is best
    low, high = review_edges(SCORES, LABELS, limits)
    assert high <= low < choose_threshold(SCORES, LABELS).threshold
    inside = choose_threshold(SCORES, LABELS, within=(high, low)).threshold
    assert bound_review_band(SCORES, LABELS, inside, limits).is_empty


def test_too_few_images_leave_no_error_outside_and_say_so():
    few = np.r_[0:30, 600:630]
    band = bound_review_band(SCORES[few], LABELS[few], 0.5, LIMITS)
    assert [(one.met, one.count, one.needed) for one in band.claims] == [(False, 0, 149), (False, 0, 99)]
    assert "Of 30 OK images on validation, none were rejected" in band.claims[1].text
    assert not (SCORES[few][LABELS[few] == 1] < band.low).any()
    assert not (SCORES[few][LABELS[few] == 0] >= band.high).any()


def test_an_ok_part_that_scores_highest_is_still_below_the_upper_edge():
    band = bound_review_band([0.1, 1.0, 0.5, 0.9], [0, 0, 1, 1], 0.5, LIMITS)
    assert band.high > 1.0


def test_images_of_one_ok_part_count_once_by_the_highest():
    scores, labels = [0.1, 0.6, 0.2, 0.9], [0, 0, 0, 1]
    band = bound_review_band(scores, labels, 0.5, LIMITS, parts=["a", "a", "b", ""])
    assert (band.claims[1].total, band.claims[1].unit) == (2, "part")
    assert 0.6 < band.high <= 0.9
