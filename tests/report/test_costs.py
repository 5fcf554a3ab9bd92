import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import det_curve

from defect_detection.evaluation.metrics import evaluate
from defect_detection.evaluation.operating_point import Costs
from defect_detection.report.costs import MOST_POINTS, cost_curve
from defect_detection.report.outlook import forecast

# OK: .1 .2 .6, defective: .4 .6 .9
SCORES = np.array([0.1, 0.2, 0.6, 0.4, 0.6, 0.9])
LABELS = np.array([0, 0, 0, 1, 1, 1])


def curve_of(threshold=0.5, costs=None, defect_rate=0.03):
    return cost_curve(SCORES, LABELS, threshold, defect_rate, costs)


def test_escaped_and_rejected_parts_at_each_threshold_worked_by_hand():
    points = [(p.threshold, round(p.escapes.value), round(p.overkill.value)) for p in curve_of().points]
    # of 10,000 parts 300 are defective (100 for each image), 9,700 OK (3,233 1/3 for each)
    assert points == [
        (0.1, 0, 9700),
        (0.2, 0, 6467),
        (0.4, 0, 3233),
        (0.6, 100, 3233),
        (0.9, 200, 0),
        (1.0, 300, 0),  # nothing is rejected
    ]


def test_cost_weighs_both_and_its_least_is_found():
    curve = curve_of(costs=Costs(escape=50, overkill=1))
    assert curve.chosen.cost == pytest.approx(100 * 50 + 9700 / 3)
    assert (curve.cheapest.threshold, curve.cheapest.cost) == (0.4, pytest.approx(9700 / 3))
    assert curve_of(costs=Costs(escape=1, overkill=50)).cheapest.threshold == 0.9
    assert curve_of().cheapest is None and curve_of().chosen.cost is None


def test_threshold_in_use_agrees_with_the_forecast():
    expected = forecast(evaluate(SCORES, LABELS, 0.5), 0.03)
    chosen = curve_of().chosen
    assert (chosen.escapes, chosen.overkill) == (expected.escapes, expected.overkill)


def test_rates_and_intervals_agree_with_scikit_learn_and_scipy():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 60)
    scores = np.round(np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0.01, 0.99), 2)
    curve = cost_curve(scores, labels, 0.5, 0.5, n_parts=2)  # one defective, one OK: rates
    rejected, escaped, cuts = det_curve(labels, scores, drop_intermediate=False)
    ours = {p.threshold: (p.overkill.value, p.escapes.value) for p in curve.points}
    for cut, *rates in zip(cuts, rejected, escaped, strict=True):
        if cut <= 1:
            assert ours[cut] == pytest.approx(rates)
    n_escaped, n_defective = int((scores[labels == 1] < 0.5).sum()), int(labels.sum())
    interval = binomtest(n_escaped, n_defective).proportion_ci(method="exact")
    assert (curve.chosen.escapes.low, curve.chosen.escapes.high) == pytest.approx(
        (interval.low, interval.high)
    )


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    scores = np.linspace(0.001, 0.999, 5000)
    curve = cost_curve(scores, (scores > 0.5).astype(int), 0.5, 0.01, Costs(escape=1, overkill=1))
    assert len(curve.points) == MOST_POINTS
    assert (curve.points[0].threshold, curve.points[-1].threshold) == (0.001, 1.0)
    assert curve.cheapest.cost == 0  # found among all thresholds, not only those shown


def test_a_defective_image_that_scores_one_is_never_passed():
    curve = cost_curve(np.array([0.2, 1.0]), np.array([0, 1]), 0.5, 0.01)
    assert [p.threshold for p in curve.points] == [0.2, 1.0]
    assert curve.points[-1].escapes.value == 0
