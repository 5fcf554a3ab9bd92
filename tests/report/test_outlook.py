import numpy as np
import pytest

from defect_detection.evaluation.metrics import evaluate
from defect_detection.evaluation.operating_point import ReviewBand
from defect_detection.evaluation.rates import Rate
from defect_detection.report.outlook import evidence_text, forecast, review_workload, stronger_claims

SCORES = np.array([0.1, 0.2, 0.6, 0.4, 0.6, 0.9])
LABELS = np.array([0, 0, 0, 1, 1, 1])


def test_forecast_takes_the_lines_own_defect_rate():
    expected = forecast(evaluate(SCORES, LABELS, 0.5), 0.03)
    assert expected.defective == pytest.approx(300)
    assert expected.escapes.value == pytest.approx(100)  # a third of 300
    assert expected.overkill.value == pytest.approx(9700 / 3)
    assert expected.escapes.high == pytest.approx(300 * Rate.of(1, 3).high)


def test_stronger_claims_say_how_many_defectives_are_missing():
    claims = stronger_claims(Rate.of(0, 40))  # shows 7.2 %
    assert [(c.max_escape_rate, c.needed, c.more) for c in claims] == [
        (0.05, 59, 19),
        (0.02, 149, 109),
        (0.01, 299, 259),
    ]


def test_evidence_is_said_in_words():
    assert evidence_text(Rate.of(0, 40)) == (
        "40 defective test images, none of them missed, show an escape rate of no more than 7.2 % "
        "(one-sided, 95 % confidence). To show 1 %, the test set needs 259 more defective images, "
        "all of them caught (299 in all)."
    )
    assert "40 defective test images, 2 of them missed" in evidence_text(Rate.of(2, 40))


def test_nothing_stronger_is_claimed_than_the_finest_rate():
    huge = Rate.of(0, 5000)
    assert stronger_claims(huge) == ()
    assert evidence_text(huge).endswith("confidence).")


def test_review_workload_counts_the_band_without_its_upper_edge():
    metrics = evaluate(SCORES, LABELS, 0.5)
    review = review_workload(SCORES, LABELS, ReviewBand(low=0.4, high=0.6), metrics, 0.01)
    assert (review.ok.count, review.defective.count) == (0, 1)
    assert review.per_parts == pytest.approx(10_000 * 0.01 / 3)


def test_empty_band_means_no_review():
    metrics = evaluate(SCORES, LABELS, 0.5)
    assert review_workload(SCORES, LABELS, ReviewBand(low=0.5, high=0.5), metrics, 0.01) is None
    assert review_workload(SCORES, LABELS, None, metrics, 0.01) is None
