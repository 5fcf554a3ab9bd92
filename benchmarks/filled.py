"""Fill a database with made-up inspections, as many as a plant has in a month."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from defect_detection.records.database import Database, insert_missing
from defect_detection.records.feedback import add_feedback
from defect_detection.records.inspections import Inspected, row_of
from defect_detection.records.tables import InspectionRow
from defect_detection.records.tallies import count_again

DAYS = 30  # of inspections, equally often by day and by night
LABELS = 500
END = datetime(2026, 11, 1, tzinfo=UTC)
MODEL = "Production_Reg"
PRODUCTS = (*["bolt"] * 8, "nut", "default")  # eight of ten inspections are about bolts
LINES, STATIONS = 4, 3
TYPES = ("scratch", "dent", "crack", "stain")
_AT_A_TIME = 5_000  # rows in one transaction


def fill(database: Database, held: int, size: int) -> None:
    """Add inspections to the `held` ones until there are `size`; label the first ones.

    The rows come without their sums and without the indexes, which are made at the end: the writer of a server, which keeps
    both up to date, would need an hour for a million.
    """
    with _without_indexes(database):
        for first in range(held, size, _AT_A_TIME):
            numbers = range(first, min(first + _AT_A_TIME, size))
            with database.writing() as session:
                insert_missing(session, InspectionRow, [row_of(inspected(number)) for number in numbers])
    count_again(database)
    for number in range(held, min(size, LABELS)):
        label(database, number)
    _plan_well(database)


@contextmanager
def _without_indexes(database: Database) -> Iterator[None]:
    """Drop the indexes of inspections, and make them again."""
    indexes = InspectionRow.__table__.indexes  # type: ignore[attr-defined]
    with database.writing() as session:
        for index in indexes:
            index.drop(session.connection())
    yield
    for index in indexes:
        with database.writing() as session:
            index.create(session.connection())


def _plan_well(database: Database) -> None:
    """Let PostgreSQL learn what the tables hold, as its autovacuum does within a minute. SQLite is used without it."""
    if database.file is None:
        with database.reading() as session:
            connection = session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
            connection.execute(text("VACUUM ANALYZE"))


def label(database: Database, number: int) -> None:
    """Let a person label one inspection."""
    if number % 2:
        add_feedback(database, id_of(number), "ok", "benchmark")
    else:
        add_feedback(database, id_of(number), "defective", "benchmark", TYPES[number % 4 // 2])


def inspected(number: int) -> Inspected:
    """Return one inspection; the same number gives the same."""
    dice = random.Random(number)
    score = dice.betavariate(0.3, 3)
    is_defective = score >= 0.5
    return Inspected(
        id=id_of(number),
        sha256=hashlib.sha256(str(number).encode()).hexdigest(),
        name=f"{number}.png",
        verdict="defective" if is_defective else "ok",
        score=score,
        threshold=0.5,
        model_name=MODEL,
        model_version=3 + number // 10 % 2,
        latency_ms=dice.lognormvariate(2, 0.5),
        line=f"line {number % LINES}",
        station=f"station {number % STATIONS}",
        product=PRODUCTS[number % len(PRODUCTS)],
        group=f"lot {number // 500}",
        part=f"part {number // 2}",
        novelty=dice.gauss(0, 1),
        brightness=100 + 20 * score,
        contrast=40 + 5 * score,
        sharpness=9 + score,
        colour_balance=1.0,
        defect_type=dice.choice(TYPES) if is_defective else None,
        at=END - timedelta(days=DAYS * dice.random()),
    )


def id_of(number: int) -> str:
    """Return the id of an inspection."""
    return hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()
