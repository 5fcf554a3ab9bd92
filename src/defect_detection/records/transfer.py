"""Copy all that is recorded from one database to another: from SQLite to PostgreSQL, or back.

Batches are committed one by one, and existing rows stay, so an interrupted copy can continue. In the end both
databases are read in full: each table has the same number of rows and the same sum of their SHA-256, in whatever order they come.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from defect_detection.errors import RecordsError
from defect_detection.processes.watch import OnProgress, Watch, unwatched
from defect_detection.records.copying import images_of
from defect_detection.records.database import Database, insert_missing, insert_or_replace
from defect_detection.records.image_store import ImageStore
from defect_detection.records.tables import (
    BaseTable,
    FeedbackRow,
    ImageRow,
    InspectionRow,
    JobLogRow,
    JobRow,
    KeyRow,
    MaintenanceRow,
    TallyRow,
)

BATCH = 1_000  # rows in one transaction
_NEVER_CHANGED: tuple[type[BaseTable], ...] = (InspectionRow, FeedbackRow)  # feedback names inspections
_CHANGED: tuple[type[BaseTable], ...] = (ImageRow, TallyRow, KeyRow, JobRow, JobLogRow, MaintenanceRow)
_WITH_DATA: tuple[type[BaseTable], ...] = (
    InspectionRow,
    FeedbackRow,
    ImageRow,
    KeyRow,
    JobRow,
)  # a server's start fills no other
_MODULUS = 1 << 256
_STREAMED = {"yield_per": BATCH}  # rows in memory


@dataclass(frozen=True, slots=True)
class Sum:
    """How many rows a table has, and the sum of their hashes."""

    rows: int = 0
    hashes: int = 0

    def with_rows(self, rows: Iterable[Sequence[Any]]) -> "Sum":
        digests = [hashlib.sha256(repr(tuple(row)).encode(errors="surrogatepass")).digest() for row in rows]
        total = sum(int.from_bytes(digest) for digest in digests)
        return Sum(self.rows + len(digests), (self.hashes + total) % _MODULUS)


@dataclass(frozen=True, slots=True)
class Copied:
    """How many rows of each table both databases have, and the images that the folder lacks or that are damaged."""

    rows: dict[str, int]
    images_missing: tuple[str, ...]


def copy_records(source: Database, target: Database, images: ImageStore, watch: Watch = unwatched) -> Copied:
    """Copy every row, compare the databases, and compare every image with its hash. The images stay where they are.

    Raises:
        RecordsError: a database can't be used, the target holds other data, or a row can't be copied or differs.
    """
    if str(source) == str(target):
        raise RecordsError(
            f"{target}: this is the database of this project. Name another database with --to."
        )
    for table in _WITH_DATA:
        _refuse_others(source, target, table)
    sums = {}
    with source.reading() as session:
        _hold_still(session)
        for table in (*_NEVER_CHANGED, *_CHANGED):
            sums[table] = _copy_table(
                session, target, table, partial(watch, "copying records", table.__tablename__)
            )
    _continue_numbers(target)
    for table, expected in sums.items():
        _compare(target, table, expected, partial(watch, "comparing records", table.__tablename__))
    missing = tuple(_missing(images, images_of(target), partial(watch, "comparing images", "reading")))
    return Copied({table.__tablename__: found.rows for table, found in sums.items()}, missing)


def _missing(images: ImageStore, known: Sequence[tuple[str, str]], on_progress: OnProgress) -> Iterator[str]:
    """Give the hash of each image that the folder lacks or that is damaged."""
    for done, (sha256, suffix) in enumerate(known, start=1):
        if images.read(sha256, suffix) is None:
            yield sha256
        on_progress(done, len(known))


def _refuse_others(source: Database, target: Database, table: type[BaseTable]) -> None:
    """Refuse a target with rows that the source doesn't have."""
    (key,) = table.__table__.primary_key
    with target.reading() as there, source.reading() as here:
        _hold_still(there)
        for keys in there.scalars(select(key), execution_options=_STREAMED).partitions(BATCH):
            known = set(here.scalars(select(key).where(key.in_(keys))))
            if others := set(keys) - known:
                raise RecordsError(
                    f"{target}: holds other data: {table.__tablename__} has a row {min(others)!r} that {source} does not have. "
                    "Name an empty database, or delete what an earlier copy left there."
                )


def _hold_still(session: Session) -> None:
    """Read one state for as long as it takes; SQLite does so by itself."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        session.execute(text("SET LOCAL statement_timeout = 0"))


def _copy_table(session: Session, target: Database, table: type[BaseTable], on_progress: OnProgress) -> Sum:
    total = Sum()
    n_rows = session.scalar(select(func.count()).select_from(table)) or 0
    write = insert_missing if table in _NEVER_CHANGED else insert_or_replace
    for rows in session.execute(select(table.__table__), execution_options=_STREAMED).partitions(BATCH):
        try:
            with target.writing() as into:
                write(into, table, [dict(row._mapping) for row in rows])
        except (DataError, IntegrityError, UnicodeError) as error:
            raise RecordsError(
                f"{target}: {table.__tablename__}: cannot store a row that {session.get_bind().dialect.name} has: "
                f"{str(error).splitlines()[0][:200]}. Correct or delete that row, and copy again."
            ) from error
        total = total.with_rows(rows)
        on_progress(total.rows, n_rows)
    return total


def _continue_numbers(target: Database) -> None:
    """Let PostgreSQL number the next label after the last one that was copied."""
    with target.writing() as session:
        if session.get_bind().dialect.name == "postgresql":
            last = session.scalar(select(func.max(FeedbackRow.id)))
            sequence = func.pg_get_serial_sequence(FeedbackRow.__tablename__, FeedbackRow.id.key)
            session.execute(select(func.setval(sequence, last or 1, last is not None)))


def _compare(target: Database, table: type[BaseTable], expected: Sum, on_progress: OnProgress) -> None:
    found = Sum()
    with target.reading() as session:
        _hold_still(session)
        for rows in session.execute(select(table.__table__), execution_options=_STREAMED).partitions(BATCH):
            found = found.with_rows(rows)
            on_progress(found.rows, expected.rows)
    if found != expected:
        raise RecordsError(
            f"{target}: {table.__tablename__}: expected {expected.rows} rows equal to those of the source, found {found.rows}"
            f"{', of which some differ' if found.rows == expected.rows else ''}. Was it written meanwhile? Stop the servers, empty "
            "this database, and copy again."
        )
