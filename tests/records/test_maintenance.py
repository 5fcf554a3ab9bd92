"""Automatic pruning: when due, in one of several servers, and again after a failure."""

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from recorded import START, image_of
from waiting import LIMIT_S

from defect_detection.config import Config
from defect_detection.records import maintenance
from defect_detection.records.database import Database
from defect_detection.records.feedback import add_feedback
from defect_detection.records.image_store import ImageFolder
from defect_detection.records.maintenance import PRUNING, Maintenance, take_on
from defect_detection.records.paging import Filter, find_page
from defect_detection.records.record_store import Records

DAY = timedelta(days=1)


AGED = datetime.now(UTC) - 10 * DAY  # too old, and the clock is not in doubt


def numbers(records: Records) -> list[int]:
    return sorted(
        int(one.inspected.id) for one in find_page(records.database, Filter(), None, 500).inspections
    )


@pytest.fixture
def config(project, monkeypatch) -> Config:
    """Settings under which all that `write` records is too old, with a server that prunes at once."""
    monkeypatch.setattr(maintenance, "FIRST_S", 0.0)
    monkeypatch.setattr(maintenance, "RETRY_S", 0.05)
    return project("records.keep_days=1")


@pytest.fixture
def start(config) -> Iterator[Callable[[Records], Maintenance]]:
    """A function that starts a server's maintenance, and returns it."""
    started: list[Maintenance] = []

    def start(records: Records) -> Maintenance:
        started.append(Maintenance(config, records))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.stop()


class Log(logging.Handler):
    """What was logged, and a way to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._came = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        assert record.exc_info is None, "a stack trace"
        with self._came:
            self.lines.append(record.getMessage())
            self._came.notify_all()

    def wait_for(self, count: int, words: str) -> str:
        """Return the line that is the `count`th with these words."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.found(words)) >= count, LIMIT_S), self.lines
            return self.found(words)[count - 1]

    def found(self, words: str) -> list[str]:
        return [line for line in self.lines if words in line]


@pytest.fixture
def log() -> Iterator[Log]:
    handler = Log()
    maintenance.log.addHandler(handler)
    level = maintenance.log.level
    maintenance.log.setLevel(logging.INFO)
    yield handler
    maintenance.log.setLevel(level)
    maintenance.log.removeHandler(handler)


def test_a_server_prunes_by_itself_and_says_what_it_removed(records, write, start, log):
    write(1, at=AGED)
    write(2, at=datetime.now(UTC))
    write(3, at=AGED)
    add_feedback(records.database, f"{3:08}", "ok", "anna")
    start(records)
    assert (
        log.wait_for(1, "pruned") == "pruned: 1 inspections, 1 images (1e-07 GB), 0 leftover files and 0 jobs"
    )
    assert numbers(records) == [2, 3]


def test_what_must_be_kept_but_takes_too_much_room_is_said(records, write, project, config, log):
    write(1, image_of(1, 10_000))
    add_feedback(records.database, f"{1:08}", "ok", "anna")
    own = Maintenance(project("records.keep_gb=0.000001"), records)
    own.start()
    assert "more than records.keep_gb" in log.wait_for(1, "Images take")
    own.stop()


@pytest.fixture
def looks(monkeypatch) -> "queue.SimpleQueue[float]":
    """In how many seconds pruning was due (0: at once), of each look that a server took."""
    looks: queue.SimpleQueue[float] = queue.SimpleQueue()

    def noted(*arguments: Any) -> float:
        due_in_s = take_on(*arguments)
        looks.put(due_in_s)
        return due_in_s

    monkeypatch.setattr(maintenance, "take_on", noted)
    return looks


def test_of_two_servers_on_one_database_one_prunes(records, write, database_url, start, log, looks):
    write(1, at=AGED)
    other = Records(Database(database_url), ImageFolder(records.images.folder))
    for one in (records, other):
        start(one)
    assert [due_in_s > 0 for due_in_s in sorted(looks.get(timeout=LIMIT_S) for _ in range(2))] == [
        False,
        True,
    ]
    log.wait_for(1, "pruned")
    assert numbers(records) == []
    other.close()


def test_work_is_due_once_in_its_time_whoever_asks(records):
    assert take_on(records.database, PRUNING, DAY, START) == 0
    for later_h, due_in_h in ((0, 24), (1, 23), (23.5, 0.5)):
        later = START + timedelta(hours=later_h)
        assert take_on(records.database, PRUNING, DAY, later) == due_in_h * 3600
    assert take_on(records.database, PRUNING, DAY, START + DAY) == 0
    assert take_on(records.database, PRUNING, DAY, START + DAY) == DAY.total_seconds()
    assert take_on(records.database, "other work", DAY, START) == 0


def test_a_restart_does_not_prune_before_it_is_due(records, write, start, log, looks):
    start(records)
    log.wait_for(1, "pruned")
    write(1, at=AGED)
    start(records)
    assert looks.get(timeout=LIMIT_S) == 0
    assert 23 * 3600 < looks.get(timeout=LIMIT_S) < 24 * 3600
    assert numbers(records) == [1]


def test_a_lost_database_is_said_in_a_line_and_pruning_goes_on_once_it_is_back(tmp_path, start, log):
    file = tmp_path / "inspections.db"
    file.mkdir()
    records = Records(Database(f"sqlite:///{file}"), ImageFolder(tmp_path / "inspections"))
    start(records)
    assert "inspections.db: " in log.wait_for(2, "pruning failed; next attempt")
    file.rmdir()
    log.wait_for(1, "pruned")
    records.close()


def test_a_folder_that_cannot_be_written_is_said_in_a_line_and_pruning_goes_on_once_it_can(
    records, write, start, log
):
    write(1, at=AGED)
    lock = records.images.folder / ".lock"
    lock.unlink()
    lock.mkdir()
    start(records)
    assert str(lock) in log.wait_for(2, "pruning failed; next attempt")
    lock.rmdir()
    assert "1 images" in log.wait_for(1, "pruned")
    assert not list(records.images.folder.glob("??/*"))


def test_a_bug_ends_neither_the_thread_nor_the_server(records, write, start, monkeypatch):
    def fail(*_arguments: object) -> None:
        failed.set()
        raise KeyError("a bug")

    failed = threading.Event()
    monkeypatch.setattr(maintenance, "prune_records", fail)
    one = start(records)
    for _ in range(2):
        assert failed.wait(LIMIT_S)
        failed.clear()
    assert one._thread.is_alive()


def test_stopping_ends_a_pruning_between_two_batches(records, write, start, log, monkeypatch):
    monkeypatch.setattr("defect_detection.records.retention.BATCH", 1)
    resting = threading.Event()
    rest = Maintenance._rest

    def slow(self: Maintenance, worked_s: float) -> None:
        resting.set()
        rest(self, 3600)

    monkeypatch.setattr(Maintenance, "_rest", slow)
    for number in range(3):
        write(number, at=AGED)
    one = start(records)
    assert resting.wait(LIMIT_S)
    one.stop(LIMIT_S)
    assert not one._thread.is_alive()
    assert len(numbers(records)) == 2
    assert log.lines == []


def test_a_pruning_that_a_clock_ahead_began_does_not_keep_others_from_pruning(records):
    assert take_on(records.database, PRUNING, DAY, START + 400 * DAY) == 0
    assert take_on(records.database, PRUNING, DAY, START) == DAY.total_seconds()
    assert take_on(records.database, PRUNING, DAY, START + DAY) == 0


def test_what_is_held_back_is_said_and_shown(records, write, start, log):
    write(1)  # long ago, and nothing since
    running = start(records)
    assert "the clock was set forward" in log.wait_for(1, "Nothing is deleted by age")
    assert (numbers(records), running.held_back != "") == ([1], True)
