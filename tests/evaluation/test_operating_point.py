import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from defect_detection.evaluation.operating_point import choose_review_band, choose_threshold, expit, logit


@pytest.fixture(scope="module")
def overlapping():
    rng = np.random.default_rng(3)
    labels = (rng.random(150) < 0.3).astype(int)
    return 1 / (1 + np.exp(-rng.normal(3 * labels - 1.5, 1.5))), labels


def test_balanced_threshold_is_the_middle_of_the_gap_in_logits():
    point = choose_threshold([0.01, 0.1, 0.9, 0.999], [0, 0, 1, 1])
    assert point.threshold == pytest.approx(0.5)
    point = choose_threshold([0.001, 0.01, 0.9], [0, 0, 1])
    assert logit(point.threshold) == pytest.approx((logit(0.01) + logit(0.9)) / 2, abs=1e-5)
    assert (point.escape.count, point.overkill.count, point.split) == (0, 0, "validation")


def test_balanced_threshold_has_the_highest_balanced_accuracy(overlapping):
    scores, labels = overlapping
    point = choose_threshold(scores, labels)
    best = max(balanced_accuracy_score(labels, scores >= t) for t in scores)
    assert balanced_accuracy_score(labels, scores >= point.threshold) == pytest.approx(best)


def test_of_equally_good_plateaus_the_widest_is_taken():
    # one mistake either way: between .2 and .3 (overkill .3) or between .6 and .97
    point = choose_threshold([0.1, 0.2, 0.5, 0.3, 0.97, 0.98], [0, 0, 0, 1, 1, 1])
    assert 0.5 < point.threshold < 0.97


def test_float32_scores_get_the_verdicts_of_float64_ones(overlapping):
    scores, labels = overlapping
    small = scores.astype(np.float32)
    threshold = choose_threshold(small, labels).threshold
    assert ((small >= np.float32(threshold)) == (small.astype(float) >= threshold)).all()


@pytest.mark.parametrize("scores", [[0.5] * 4, [0.0] * 4, [1.0] * 4])
def test_scores_that_tell_nothing_reject_everything(scores):
    point = choose_threshold(scores, [0, 0, 1, 1])
    assert (point.escape.count, point.overkill.count) == (0, 2)


def test_scores_beyond_the_logit_limit_are_still_told_apart():
    point = choose_threshold([0.0, 1e-12, 2e-12], [0, 0, 1])
    assert 1e-12 < point.threshold <= 2e-12


@pytest.mark.parametrize(("limit", "escapes"), [(0.0, 0), (0.05, 2), (0.29, 13), (0.5, 22)])
def test_escape_limit_is_used_up_but_kept(overlapping, limit, escapes):
    scores, labels = overlapping
    assert labels.sum() == 45
    point = choose_threshold(scores, labels, "max_escape_rate", max_escape_rate=limit)
    assert point.escape.count == escapes
    next_defective = np.sort(scores[labels == 1])[escapes]
    higher = np.nextafter(next_defective, 1)
    assert (scores[labels == 1] < higher).mean() > limit  # no higher threshold is admissible
    assert point.overkill.count == (scores[labels == 0] >= next_defective).sum()


def test_tied_defectives_never_break_the_escape_limit():
    point = choose_threshold([0.1, 0.4, 0.4, 0.9], [0, 1, 1, 1], "max_escape_rate", max_escape_rate=0.4)
    assert point.escape.count == 0


def test_fixed_threshold_is_taken_as_it_is(overlapping):
    point = choose_threshold(*overlapping, "fixed", threshold=0.37)
    assert (point.threshold, point.rule) == (0.37, "fixed")


@pytest.mark.parametrize(
    ("rule", "settings"),
    [
        ("fixed", {}),
        ("fixed", {"threshold": 1.5}),
        ("max_escape_rate", {}),
        ("max_escape_rate", {"max_escape_rate": 1.0}),
    ],
)
def test_rule_without_its_setting_is_refused(overlapping, rule, settings):
    with pytest.raises(ValueError, match="expected"):
        choose_threshold(*overlapping, rule, **settings)


def test_review_band_holds_the_asked_share_nearest_the_threshold(overlapping):
    scores, _ = overlapping
    band = choose_review_band(scores, 0.4, 0.1)
    inside = (scores >= band.low) & (scores < band.high)
    assert inside.sum() == 15
    assert band.low < 0.4 < band.high
    distance = np.abs(logit(scores) - logit(0.4))
    assert distance[inside].max() <= distance[~inside].min()


def test_no_review_means_an_empty_band(overlapping):
    assert choose_review_band(overlapping[0], 0.4, 0.0).is_empty
    assert choose_review_band(overlapping[0], 0.4, 0.001).is_empty
    with pytest.raises(ValueError, match="review_fraction"):
        choose_review_band(overlapping[0], 0.4, 1.0)


def test_logit_and_expit_are_inverse_and_finite():
    assert expit(float(logit(0.2))) == pytest.approx(0.2)
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()
