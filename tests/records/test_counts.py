"""Inspections are counted the same way in both databases."""

from datetime import timedelta

import pytest
from recorded import START

from defect_detection.records.counts import Judged, count_inspections
from defect_detection.records.feedback import add_feedback

MINUTE = timedelta(minutes=1)


def test_verdicts_are_counted_in_their_period(records, write):
    for number, verdict in enumerate(["ok", "ok", "defective", "review", "ok", "defective"]):
        write(number, verdict=verdict)
    periods = count_inspections(records.database, START, START + 6 * MINUTE, 3).periods
    assert [(one.ok, one.defective, one.review) for one in periods] == [(2, 0, 0), (0, 1, 1), (1, 1, 0)]
    assert [one.since for one in periods] == [START + 2 * i * MINUTE for i in range(3)]
    assert [one.inspected for one in periods] == [2, 2, 2]


def test_the_end_is_not_counted_and_fractions_of_a_second_stay_in_their_period(records, write):
    write(1, at=START + 2 * MINUTE)
    write(2, at=START + MINUTE - timedelta(milliseconds=100))
    periods = count_inspections(records.database, START, START + 2 * MINUTE, 2).periods
    assert [one.inspected for one in periods] == [1, 0]


def test_quantiles_are_within_five_percent_of_latencies_that_occurred(records, write):
    for number in range(1, 21):
        write(number, latency_ms=float(number), at=START)
    counted = count_inspections(records.database, START, START + 2 * MINUTE, 2)
    near = pytest.approx((10.0, 19.0), rel=0.05)
    assert (counted.p50_ms, counted.p95_ms) == near
    assert (counted.periods[0].p50_ms, counted.periods[0].p95_ms) == near
    assert (counted.periods[1].p50_ms, counted.periods[1].p95_ms) == (None, None)


def test_scores_fall_into_bins_of_a_twentieth(records, write):
    for number, score in enumerate([0.0, 0.049, 0.05, 0.98, 1.0]):
        write(number, score=score)
    scores = count_inspections(records.database, START, START + 9 * MINUTE, 1).scores
    assert (len(scores), scores[0], scores[1], scores[19], sum(scores)) == (20, 2, 1, 2, 5)


def test_the_label_that_counts_is_compared_with_the_verdict(records, write):
    for number, verdict in enumerate(["ok", "defective", "ok", "review"]):
        write(number, verdict=verdict)
    for number, label in ((0, "ok"), (0, "defective"), (1, "ok"), (3, "ok")):
        add_feedback(records.database, f"{number:08}", label, "someone")
    counted = count_inspections(records.database, START, START + 9 * MINUTE, 1)
    assert counted.judged == Judged(labelled=3, escapes=1, overkill=1)


def test_nothing_inspected_is_counted_as_nothing(records):
    counted = count_inspections(records.database, START, START + MINUTE, 2)
    assert [one.inspected for one in counted.periods] == [0, 0]
    assert (counted.p50_ms, sum(counted.scores), counted.judged) == (None, 0, Judged(0, 0, 0))


def test_the_models_of_a_period_are_named_in_the_order_in_which_they_decided(records, write):
    for number, version in enumerate([3, 3, 3, 4, 4, 3]):
        write(number, model_version=version, threshold=version / 10)
    periods = count_inspections(records.database, START, START + 8 * MINUTE, 4).periods
    named = [[(one.version, one.threshold) for one in period.models] for period in periods]
    assert named == [[(3, 0.3)], [(3, 0.3), (4, 0.4)], [(4, 0.4), (3, 0.3)], []]
