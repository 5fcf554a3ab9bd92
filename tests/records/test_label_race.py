"""Labelling and pruning at the same time: the second transaction sees the first."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import pytest
from recorded import START, image_of, is_waiting, paused_at
from waiting import LIMIT_S

from defect_detection.errors import UnknownRecordError
from defect_detection.records.database import Database
from defect_detection.records.feedback import add_feedback
from defect_detection.records.inspections import find_inspection
from defect_detection.records.retention import prune

NOW = START + timedelta(days=10)
FIRST, SECOND = f"{1:08}", f"{2:08}"


@pytest.fixture
def elsewhere(records, database_url) -> Iterator[Database]:
    """The same database as another process opens it."""
    with records.database.reading():
        pass
    database = Database(database_url)
    with database.reading():
        pass
    yield database
    database.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Future]]:
    """A function that calls another in a thread, and returns when that has come to its end, or waits for a lock."""
    with ThreadPoolExecutor(1) as threads:

        def start(database: Database, call: Callable, *arguments: object) -> Future:
            with paused_at(database, "") as (asks, go_on):
                future = threads.submit(call, *arguments)
                assert asks.wait(LIMIT_S)
                go_on.set()
            while not future.done() and not is_waiting(database):
                time.sleep(0.01)
            return future

        yield start


def prune_all(database: Database, records, max_bytes: float | None = None):
    """Remove every inspection that is older than a week; with a room of 0, every image."""
    return prune(database, records.images, 7, max_bytes, NOW)


def test_what_is_being_pruned_can_no_longer_be_labelled(records, write, elsewhere, start):
    write(1)
    with (
        paused_at(records.database, "DELETE FROM inspections") as (reached, go_on),
        ThreadPoolExecutor() as pool,
    ):
        pruning = pool.submit(prune_all, records.database, records)
        assert reached.wait(LIMIT_S)
        labelling = start(elsewhere, add_feedback, elsewhere, FIRST, "defective", "anna")
        assert not labelling.done()
        go_on.set()
        assert pruning.result(LIMIT_S).inspections == 1
        with pytest.raises(UnknownRecordError, match="or deleted by pruning"):
            labelling.result(LIMIT_S)


def test_what_is_being_labelled_is_not_pruned(records, write, elsewhere, start):
    """Of two inspections of one image one is being labelled: both stay, and so does the image, however little room there is."""
    write(1, image_of(1))
    write(2, image_of(1))
    with (
        paused_at(records.database, "INSERT INTO feedback") as (reached, go_on),
        ThreadPoolExecutor() as pool,
    ):
        labelling = pool.submit(add_feedback, records.database, SECOND, "defective", "anna")
        assert reached.wait(LIMIT_S)
        pruning = start(elsewhere, prune_all, elsewhere, records, 0)
        assert not pruning.done()
        go_on.set()
        assert labelling.result(LIMIT_S).label == "defective"
        assert (pruning.result(LIMIT_S).inspections, pruning.result().images) == (0, 0)
    for one in (FIRST, SECOND):
        assert find_inspection(elsewhere, one).image_suffix == ".png"


def test_an_image_that_makes_room_is_gone_before_its_label_comes(records, write, elsewhere, start):
    write(1, at=NOW)
    with paused_at(records.database, "DELETE FROM images") as (reached, go_on), ThreadPoolExecutor() as pool:
        pruning = pool.submit(prune_all, records.database, records, 0)
        assert reached.wait(LIMIT_S)
        labelling = start(elsewhere, add_feedback, elsewhere, FIRST, "ok", "anna")
        assert not labelling.done()
        go_on.set()
        assert pruning.result(LIMIT_S).images == 1
        assert labelling.result(LIMIT_S).label == "ok"
    found = find_inspection(elsewhere, FIRST)
    assert (found.image_suffix, len(found.said)) == (None, 1)
