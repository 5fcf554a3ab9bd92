"""The size limit of images is enforced while they arrive, fairly between keys, callers and lines; doubtful verdicts stay longest."""

import logging
from collections.abc import Iterable
from contextlib import closing

import pytest
from alembic import command
from alembic.config import Config as AlembicConfig
from recorded import image_of, inspected
from sqlalchemy import text
from waiting import LIMIT_S, wait_until

from defect_detection.records.database import Database
from defect_detection.records.feedback import add_feedback
from defect_detection.records.image_store import ImageFolder
from defect_detection.records.inspections import find_inspection
from defect_detection.records.migrating import MIGRATIONS
from defect_detection.records.quota import Quota
from defect_detection.records.record_store import Records
from defect_detection.records.room import _levelled, bytes_taken
from defect_detection.records.tables import ImageRow

ROOM = 40_000  # bytes: 40 images
FLOODER = "192.0.2.66"


@pytest.fixture
def small(database_url, tmp_path):
    with closing(
        Records(Database(database_url), ImageFolder(tmp_path / "inspections"), ROOM, 1e9)
    ) as records:
        yield records


def write(records: Records, numbers: Iterable[int], **facts: object) -> None:
    for number in numbers:
        content = image_of(number, 1000)
        own = {name: fact(number) if callable(fact) else fact for name, fact in facts.items()}
        records.recorder.record(inspected(number, content, **own), content)
    assert records.recorder.flush(LIMIT_S)
    wait_until(lambda: bytes_taken(records.database) <= ROOM)


def n_kept(records: Records, numbers: Iterable[int]) -> int:
    found = [find_inspection(records.database, f"{number:08}") for number in numbers]
    images = [records.images.read(one.inspected.sha256, ".png") for one in found if one.image_suffix]
    assert None not in images
    return len(images)


def test_a_flood_without_a_key_leaves_images_of_lines_with_a_key_and_labelled_ones(small):
    write(small, range(20), sent_by="line 3", line="3")
    write(small, range(20, 25), sent_by="192.0.2.5")
    for number in range(20, 25):
        add_feedback(small.database, f"{number:08}", "ok", "anna")
    write(small, range(100, 400), sent_by=FLOODER, line=str, score=0.5)
    assert (n_kept(small, range(20)), n_kept(small, range(20, 25))) == (20, 5)
    assert 10 <= n_kept(small, range(100, 400)) <= 15
    assert small.recorder.state().written == 325


def test_a_flood_leaves_the_images_of_another_caller_without_a_key(small):
    write(small, range(18), sent_by="192.0.2.5", line="3")
    write(small, range(100, 200), sent_by=FLOODER, line=str)
    write(
        small, range(200, 400), sent_by=lambda number: f"2001:db8::{number:x}"
    )  # one caller with many addresses
    assert n_kept(small, range(18)) >= 13


def test_a_line_that_sends_most_loses_most_and_doubtful_images_go_last(small):
    write(small, range(10), sent_by="camera", line="1")
    write(small, range(10, 15), sent_by="camera", line="2", verdict="review")
    write(small, range(15, 20), sent_by="camera", line="2", score=0.45)
    write(small, range(100, 200), sent_by="camera", line="2")
    assert (n_kept(small, range(10)), n_kept(small, range(10, 20))) == (10, 10)
    assert n_kept(small, range(180, 200)) >= 19, "the oldest go first"


def test_the_largest_are_lowered_to_one_level_at_each_step():
    sizes = {("a", "1"): 50.0, ("a", "2"): 30.0, ("b", "1"): 20.0, ("c", "1"): 70.0}
    assert _levelled(sizes, 10) == {("a", "1"): 10}
    assert _levelled(sizes, 30) == {("a", "1"): 20, ("c", "1"): 10}
    assert _levelled(sizes, 110) == {("a", "1"): 40, ("a", "2"): 20, ("c", "1"): 50}
    assert sum(_levelled(sizes, 155).values()) == 155
    assert _levelled(sizes, 1000) == sizes


def test_images_beyond_the_quota_of_a_caller_without_a_key_are_counted_and_not_kept(
    database_url, tmp_path, caplog
):
    caplog.set_level(logging.ERROR)
    with closing(Records(Database(database_url), ImageFolder(tmp_path / "images"), None, 5000)) as records:
        write_all = {"sent_by": FLOODER}
        for number in range(8):
            content = image_of(number, 1000)
            records.recorder.record(inspected(number, content, **write_all), content)
        for number, sender in enumerate(("192.0.2.67", "camera", "camera"), 10):
            content = image_of(number, 4000)
            records.recorder.record(inspected(number, content, sent_by=sender), content)
        assert records.recorder.flush(LIMIT_S)
        state = records.recorder.state()
        assert (state.written, state.images_refused, state.images_lost, state.error) == (11, 3, 0, None)
        assert (n_kept(records, range(5)), n_kept(records, range(5, 8)), n_kept(records, range(10, 13))) == (
            5,
            0,
            3,
        )
    assert "192.0.2.66 exceeded records.anonymous_gb_per_h without a key" in caplog.text


def test_a_quota_comes_back_with_time_and_is_one_for_a_network_of_version_6():
    quota = Quota(3600)
    assert quota.take(FLOODER, 3600, now_s=0)
    assert not quota.take(FLOODER, 11, now_s=10)
    assert quota.take(FLOODER, 10, now_s=10)
    assert quota.take("2001:db8::1", 3600, now_s=0)
    assert not quota.take("2001:db8::2", 3600, now_s=0)
    assert quota.take("2001:db8:0:1::1", 3600, now_s=0)
    assert quota.take("camera", 10**9, now_s=0)


def test_an_earlier_database_is_carried_along_with_the_lines_of_its_images(new_database_url):
    database = Database(new_database_url)
    engine = database._make_engine()
    with engine.execution_options(sqlite_begin="IMMEDIATE").begin() as connection:
        config = AlembicConfig(attributes={"connection": connection})
        config.set_main_option("script_location", str(MIGRATIONS))
        config.set_main_option("path_separator", "os")
        command.upgrade(config, "0005")
        for sha256 in "abc":
            connection.execute(text(f"INSERT INTO images VALUES ('{sha256}', '.png', 1, '2026-01-01')"))
        given = (
            "'a', 'ok', 0.4, '3'",
            "'a', 'ok', 0.4, '4'",
            "'b', 'review', 0.4, ''",
            "'c', 'ok', 0.05, ''",
        )
        for number, facts in enumerate(given):
            connection.execute(
                text(
                    "INSERT INTO inspections (id, at, name, score, threshold, model_name, model_version, latency_ms, in_group, part, "
                    f"sha256, verdict, margin, line) VALUES ('{number}', '2026-01-0{number + 1}', '', 0, 0, '', 1, 1, '', '', {facts})"
                )
            )
    engine.dispose()
    with database.reading() as session:
        rows = session.query(ImageRow).order_by(ImageRow.sha256)
        assert [(row.line, row.doubtful, row.sent_by) for row in rows] == [
            ("3", False, ""),
            ("", True, ""),
            ("", True, ""),
        ]
    assert find_inspection(database, "1").inspected.sent_by == ""
    database.close()
