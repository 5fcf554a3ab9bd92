"""A wrong clock deletes nothing, hides no label and is reported."""

from datetime import UTC, datetime, timedelta

import pytest
from recorded import START
from sqlalchemy import update

from defect_detection.records import retention
from defect_detection.records.clock import doubt_of_clock
from defect_detection.records.counts import count_inspections
from defect_detection.records.feedback import add_feedback
from defect_detection.records.inspections import find_inspection
from defect_detection.records.jobs import create_job, create_job_if_due, end_job
from defect_detection.records.paging import Filter, find_page
from defect_detection.records.retention import prune
from defect_detection.records.tables import FeedbackRow

DAY = timedelta(days=1)
NOW = START + 20 * DAY


def count(records) -> int:
    return len(find_page(records.database, Filter(), None, 500).inspections)


def doubt(records, now: datetime) -> str:
    with records.database.reading() as session:
        return doubt_of_clock(session, now)


def prune_at(records, now: datetime, keep_days: float = 365) -> str:
    return prune(records.database, records.images, keep_days, None, now).held_back


def test_a_clock_far_ahead_deletes_nothing_also_while_it_records(records, write):
    for number in range(20):
        write(number, at=START + number * DAY)
    ahead = NOW + 400 * DAY
    assert "the clock was set forward" in prune_at(records, ahead)
    write(20, at=ahead - timedelta(seconds=6))
    assert "Nothing is deleted by age" in prune_at(records, ahead)
    assert count(records) == 21
    assert prune_at(records, NOW) == ""


def test_after_days_of_inspections_a_clock_is_believed(records, write):
    write(1, at=START)
    for day in range(400, 408):
        write(day, at=START + day * DAY)
    assert prune_at(records, START + 402 * DAY) != ""
    assert prune_at(records, START + 408 * DAY) == ""
    assert count(records) == 8


def test_a_part_goes_at_a_time(records, write, monkeypatch):
    monkeypatch.setattr(retention, "LEAST_AT_ONCE", 2)
    for number in range(30):
        write(number, at=NOW - 8 * DAY)
    for left in (27, 25, 23):
        assert "deleted at a time; the other old inspections follow" in prune_at(records, NOW, 7)
        assert count(records) == left
    assert prune(records.database, records.images, 7, None, NOW, share=None).held_back == ""
    assert count(records) == 0


def test_the_last_label_counts_also_after_the_clock_was_set_back(records, write):
    write(1, verdict="ok")
    one = f"{1:08}"
    add_feedback(records.database, one, "defective", "anna")
    with records.database.writing() as session:
        session.execute(update(FeedbackRow).values(at=datetime.now(UTC) + 400 * DAY))
    add_feedback(records.database, one, "ok", "anna")
    assert find_inspection(records.database, one).said[0].label == "ok"
    assert len(find_page(records.database, Filter(label="ok"), None, 5).inspections) == 1
    judged = count_inspections(records.database, START, START + DAY, 1).judged
    assert (judged.labelled, judged.escapes) == (1, 0)


def test_labels_start_a_retraining_also_after_the_clock_was_set_back(records, write):
    write(1)
    write(2)
    add_feedback(records.database, f"{1:08}", "ok", "anna")
    job = create_job(records.database, "anna")
    end_job(records.database, job.id, "succeeded")
    add_feedback(records.database, f"{2:08}", "ok", "anna")
    with records.database.writing() as session:
        session.execute(update(FeedbackRow).values(at=START - DAY))
    assert create_job_if_due(records.database, 2, "labels") is None
    assert create_job_if_due(records.database, 1, "labels") is not None


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (START + DAY, ""),
        (START - DAY, "The clock was ahead when they were recorded, or it is behind now"),
        (START + 29 * DAY, ""),
        (START + 31 * DAY, "The line stood still, or the clock was set forward"),
    ],
)
def test_dates_that_speak_against_the_clock_are_said(records, write, now, said):
    write(0)
    assert said in doubt(records, now) and bool(doubt(records, now)) == bool(said)


def test_nothing_recorded_says_nothing(records):
    assert doubt(records, NOW) == ""
