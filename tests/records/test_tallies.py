"""Figures from sums equal those from rows, after any sequence of operations."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from alembic import command
from alembic.config import Config as AlembicConfig
from recorded import START, image_of, inspected
from sqlalchemy import create_engine, delete, func, select, text

from defect_detection.records import counts
from defect_detection.records.bins import latency_bin, latency_of
from defect_detection.records.counts import Chosen, Statistics, count_inspections
from defect_detection.records.database import Database
from defect_detection.records.feedback import add_feedback
from defect_detection.records.inspections import Inspected, add_inspections
from defect_detection.records.migrating import MIGRATIONS
from defect_detection.records.paging import Filter, find_page
from defect_detection.records.record_store import Records
from defect_detection.records.retention import prune
from defect_detection.records.tables import TallyRow
from defect_detection.records.tallies import count_again

DAYS = 5
TIMES = [
    (START, START + timedelta(days=DAYS), 7),
    (START - timedelta(hours=6), START + timedelta(days=DAYS - 1, hours=18), DAYS),  # whole days
    (START + timedelta(minutes=7), START + timedelta(days=2, hours=1, minutes=3), 24),
    (START + timedelta(hours=1), START + timedelta(hours=2), 4),
    (START + timedelta(minutes=1, microseconds=1), START + timedelta(minutes=12), 200),
]


def some(dice: random.Random, number: int) -> Inspected:
    return inspected(
        number,
        image_of(dice.randrange(40)),
        at=START + timedelta(days=DAYS * dice.random()),
        verdict=dice.choice(["ok", "defective", "review"]),
        score=dice.choice([0.0, dice.random(), 1.0]),
        latency_ms=dice.lognormvariate(2, 1),
        threshold=dice.choice([0.5, 0.25]),
        model_version=dice.choice([3, 4]),
    )


def insert(records: Records, batch: list[Inspected]) -> None:
    with records.database.writing() as session:
        add_inspections(session, batch, [])


def counted(records: Records) -> list[Statistics]:
    return [count_inspections(records.database, *time) for time in TIMES]


def assert_as_the_rows(records: Records) -> None:
    """Compare with what Python counts from all rows."""
    rows, cursor = [], None
    while rows == [] or cursor is not None:
        page = find_page(records.database, Filter(), cursor, 500)
        rows, cursor = [*rows, *page.inspections], page.next
    for (since, until, n), found in zip(TIMES, counted(records), strict=True):
        assert (len(found.periods), found.rounded) == (n, False)
        within = [one for one in rows if since <= one.inspected.at < until]
        bounds = [*(period.since for period in found.periods), until]
        for period, start, end in zip(found.periods, bounds, bounds[1:], strict=False):
            own = [one.inspected for one in within if start <= one.inspected.at < end]
            verdicts = Counter(one.verdict for one in own)
            assert (period.ok, period.defective, period.review) == tuple(
                verdicts[name] for name in ("ok", "defective", "review")
            )
            assert {(one.version, one.threshold) for one in period.models} == {
                (one.model_version, one.threshold) for one in own
            }
            if own:
                middle = sorted(one.latency_ms for one in own)[(len(own) - 1) // 2]
                assert period.p50_ms == pytest.approx(middle, rel=0.05)
        pairs = Counter((one.inspected.verdict, one.said[0].label) for one in within if one.said)
        judged = (sum(pairs.values()), pairs["ok", "defective"], pairs["defective", "ok"])
        assert (found.judged.labelled, found.judged.escapes, found.judged.overkill) == judged
        bins = Counter(min(int(one.inspected.score * 20), 19) for one in within)
        assert found.scores == tuple(bins[place] for place in range(20))


@pytest.mark.parametrize("seed", [1, 2])
def test_sums_are_as_the_rows_after_any_sequence_of_changes(records, seed):
    dice, number = random.Random(seed), 0
    for _ in range(25):
        what = dice.choice(["insert", "insert", "again", "label", "prune"])
        if what == "insert":
            batch = [some(dice, number + i) for i in range(dice.randrange(1, 40))]
            number += len(batch)
            insert(records, batch)
        elif what == "again" and number:
            insert(records, [batch[0], *batch])  # as after a commit whose answer was lost
        elif what == "label" and number:
            shown = find_page(records.database, Filter(), None, 500).inspections
            if shown:
                one = dice.choice(shown).inspected.id
                add_feedback(records.database, one, dice.choice(["ok", "defective"]), "anna")
        elif what == "prune":
            prune(records.database, records.images, dice.uniform(3, 6), None, START + timedelta(days=DAYS))
    assert_as_the_rows(records)
    with records.database.writing() as session:
        session.execute(delete(TallyRow).where(TallyRow.model_version == 3))
    assert count_again(records.database) > 0
    assert_as_the_rows(records)


def test_nothing_is_left_of_sums_whose_inspections_are_gone(records):
    dice = random.Random(3)
    insert(records, [some(dice, number) for number in range(50)])
    prune(records.database, records.images, 1, None, START + timedelta(days=20))
    with records.database.reading() as session:
        assert session.scalar(text("SELECT count(*) FROM tallies")) == 0
    assert count_again(records.database) == 0


def test_two_servers_and_a_person_lose_no_count(records, database_url):
    other = Records(Database(database_url), records.images)
    batches = [
        [inspected(64 * n + i, image_of(i), at=START + timedelta(seconds=i)) for i in range(64)]
        for n in range(20)
    ]
    insert(records, [inspected(9999, image_of(7), at=START)])

    def label(turn: int) -> None:
        add_feedback(records.database, f"{9999:08}", ["ok", "defective"][turn % 2], "anna")

    with ThreadPoolExecutor(3) as threads:
        work = [threads.submit(insert, [records, other][n % 2], batch) for n, batch in enumerate(batches)] + [
            threads.submit(label, turn) for turn in range(9)
        ]
        for one in work:
            one.result()
    assert_as_the_rows(records)
    other.close()


def test_periods_begin_at_whole_quarter_hours_where_too_many_rows_would_be_read(records, monkeypatch):
    monkeypatch.setattr(counts, "MOST_ROWS", 10)
    dice = random.Random(4)
    insert(records, [some(dice, number) for number in range(3000)])
    since, until = START + timedelta(minutes=7), START + timedelta(minutes=91)
    found = count_inspections(records.database, since, until, 200)
    assert found.rounded
    assert (found.since, found.until) == (START, START + timedelta(minutes=105))
    assert [one.since for one in found.periods] == [START + timedelta(minutes=15 * i) for i in range(7)]
    exact = count_inspections(records.database, found.since, found.until, 7)
    assert (exact.rounded, exact.periods) == (False, found.periods)


def test_an_old_database_gets_its_sums_with_the_update(new_database_url):
    engine = create_engine(new_database_url)
    with engine.begin() as connection:
        config = AlembicConfig(attributes={"connection": connection})
        config.set_main_option("script_location", str(MIGRATIONS))
        config.set_main_option("path_separator", "os")
        command.upgrade(config, "0005")
        facts = "'{0}', '2026-03-0{1} 06:00:00', 'content', 'a.png', 'defective', 0.9, 0.5, 0.4, 'Production_Reg', 3, 4.0, '', '', ''"
        columns = (
            "id, at, sha256, name, verdict, score, threshold, margin, model_name, model_version, latency_ms"
        )
        columns += ", in_group, line, part"
        for day in (1, 3):
            connection.execute(text(f"INSERT INTO inspections ({columns}) VALUES ({facts.format(day, day)})"))
        said = "1, '2026-03-01 07:00:00', '1', 'content', 'ok', '', '', 'anna'"
        connection.execute(text(f"INSERT INTO feedback VALUES ({said})"))
    engine.dispose()
    database = Database(new_database_url)
    found = count_inspections(database, START, START + timedelta(days=3), 3)
    assert [one.defective for one in found.periods] == [1, 0, 1]
    assert found.judged.overkill == 2
    database.close()


def test_bins_of_latencies_take_every_number():
    for ms in (0.11, 1.0, 17.3, 99_999.0):
        assert latency_of(latency_bin(ms)) == pytest.approx(ms, rel=0.05)
    assert [latency_bin(ms) for ms in (float("nan"), -1.0, 0.0, float("inf"))] == [0, 0, 0, latency_bin(1e9)]


def test_sums_of_a_product_a_line_and_a_station_are_those_of_its_rows(records, write):
    places = [
        ("bolt", "L1", "A"),
        ("bolt", "L1", ""),
        ("bolt", "L2", "A"),
        ("bolt", "", ""),
        ("default", "L1", "A"),
    ]
    for number, (name, line, station) in enumerate(places):
        write(
            number,
            product=name,
            line=line,
            station=station,
            verdict="defective",
            model_version=1 + number % 2,
        )

    def defective(**chosen: object) -> list[int]:
        spans = [(START, START + timedelta(minutes=7)), (START, START + timedelta(days=1))]
        found = [count_inspections(records.database, *span, 1, Chosen(**chosen)) for span in spans]
        return [one.periods[0].defective for one in found]

    assert defective() == [5, 5]
    assert defective(product="bolt") == [4, 4]
    assert defective(product="bolt", line="L1") == [2, 2]
    assert defective(product="bolt", station="A") == [2, 2]
    assert defective(product="bolt", line="L1", station="A") == [1, 1]
    assert defective(product="bolt", model_version=1) == [2, 2]
    assert defective(product="nut") == [0, 0]
    count_again(records.database)
    assert defective(product="bolt", line="L1") == [2, 2]
    prune(records.database, records.images, 1, None, START + timedelta(days=9), lambda _s: None, None)
    with records.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(TallyRow)) == 0
