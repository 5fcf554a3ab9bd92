"""Open and migrate the database of inspections, and convert its errors to `RecordsError`.

SQLite in write-ahead mode, so that reading and writing don't wait for each other; or PostgreSQL. Both are opened on
first need, and opened again after they were lost: nothing has to be restarted.
"""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock
from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from defect_detection import __version__
from defect_detection.environment import why_too_old
from defect_detection.errors import RecordsError, SlowReadError, explain, explain_sqlite
from defect_detection.files.permissions import create_private
from defect_detection.records import migrating
from defect_detection.records.tables import BaseTable

DATABASE_URL = "DATABASE_URL (environment or .env)"
BUSY_TIMEOUT_S = 10
LOCK_TIMEOUT_S = 60
PAUSE_S = 2.0  # after a failed connection: requests do not wait for the server then, so predictions keep their threads
_MIGRATION_LOCK = 3_141_001  # any numbers, the same in every process: PostgreSQL's advisory locks
_LABELS_LOCK = 3_141_002
_JOBS_LOCK = 3_141_003
_IMAGES_LOCK = 3_141_004
READ_S = 10.0  # that a view may look through inspections: it holds one of few places meanwhile
_STEPS = 10_000  # of SQLite between two looks at the clock: about a millisecond
_ENDED = ("interrupted", "statement timeout")  # messages of SQLite and PostgreSQL for a stopped statement
_POSTGRES = {
    "connect_timeout": 5,
    "client_encoding": "utf8",
    "options": "-c statement_timeout=30000 -c lock_timeout=10000",
}


class Database:
    """The database at one URL. Threads may share it.

    Args:
        url: ``sqlite:///<file>`` or ``postgresql://user:password@host/name``.
        given_by: the variable or the option with the URL; errors name it.
    """

    def __init__(self, url: str, given_by: str = DATABASE_URL) -> None:
        self._url = _driver_of(url, given_by)
        self._given_by = given_by
        self.file = Path(self._url.database or "") if self._url.drivername == "sqlite" else None
        self._opening = threading.Lock()
        self._engine: Engine | None = None
        self._identity: object = None
        self._failure = ""
        self._again_at = 0.0

    def __str__(self) -> str:
        return str(self.file or self._url.render_as_string(hide_password=True))

    @contextmanager
    def reading(self, deadline_s: float | None = None) -> Iterator[Session]:
        """Give a session that reads one state of the database.

        Args:
            deadline_s: after which a statement is ended; None: as usual.

        Raises:
            SlowReadError: the deadline passed. RecordsError: the database can't be reached or used.
        """
        with self._session("") as session:
            if deadline_s is None:
                yield session
                return
            try:
                with _ended_after(session, deadline_s):
                    yield session
            except OperationalError as error:
                if not any(words in str(error.orig) for words in _ENDED):
                    raise
                raise SlowReadError(
                    f"the search of inspections was stopped after {deadline_s:g} s: use a shorter period (since, until) or "
                    "other filters"
                ) from error

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Give a session that is committed as a whole at the end, or not at all.

        Raises:
            RecordsError: the database can't be reached or written.
        """
        with self._session("IMMEDIATE") as session, session.begin():
            yield session

    @contextmanager
    def images_lock(self) -> Iterator[None]:
        """Hold the lock of all processes that share this database and a bucket of images.

        Raises:
            RecordsError: another one keeps it, or the database can't be reached.
        """
        if self.file is None:
            with self.writing() as session:
                session.execute(text(f"SELECT pg_advisory_xact_lock({_IMAGES_LOCK})"))
                yield
            return
        lock = FileLock(f"{self.file}.images.lock", timeout=LOCK_TIMEOUT_S)
        try:
            lock.acquire()
        except OSError as error:  # a filelock.Timeout too
            raise RecordsError(f"{lock.lock_file}: cannot be locked: {explain(error) or error}") from error
        try:
            yield
        finally:
            lock.release()

    def close(self) -> None:
        """Close all connections; the next use opens new ones."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    @contextmanager
    def _session(self, begin: str) -> Iterator[Session]:
        try:
            engine = self._opened().execution_options(sqlite_begin=begin)
        except (DBAPIError, PoolTimeout, OSError) as error:
            raise self._failed(error) from error
        try:
            with Session(engine, expire_on_commit=False) as session:
                yield session
        except (IntegrityError, DataError):
            raise  # the query is wrong, not the database
        except (DBAPIError, PoolTimeout) as error:  # an OSError comes from the code inside the session
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> RecordsError:
        self.close()
        self._failure = f"{self}: {_first_line(error)}. {self._cure(str(error))}"
        self._again_at = time.monotonic() + PAUSE_S
        return RecordsError(self._failure)

    def _opened(self) -> Engine:
        """Return the engine of the migrated database. A file that was moved or replaced is opened again."""
        with self._opening:
            if self.file is None and time.monotonic() < self._again_at:
                raise RecordsError(self._failure)
            if self._engine is not None and self._identity != self._identify():
                self.close()
            if self._engine is None:
                engine = self._make_engine()
                try:
                    self._migrate(engine)
                except BaseException:
                    engine.dispose()
                    raise
                self._identity = self._identify()
                self._engine = engine
            return self._engine

    def _identify(self) -> object:
        """Identify the open file, because SQLite would continue to write to a deleted file."""
        if self.file is None:
            return None
        try:
            status = self.file.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _make_engine(self) -> Engine:
        if self.file is None:
            return create_engine(
                self._url,
                isolation_level="READ COMMITTED",  # see `alone_with_labels`
                pool_pre_ping=True,
                pool_timeout=10,
                connect_args=_POSTGRES,
            )
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with suppress(
            OSError
        ):  # the file exists, or SQLite reports the error; its journals get the permissions of the file
            os.close(create_private(self.file))
        engine = create_engine(self._url, pool_timeout=10, connect_args={"timeout": BUSY_TIMEOUT_S})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _migrate(self, engine: Engine) -> None:
        """Bring the tables up to date; processes that start at the same time do so one after the other."""
        with self._alone(), engine.execution_options(sqlite_begin="IMMEDIATE").begin() as connection:
            if self.file is None:
                if problem := why_too_old(connection.dialect.server_version_info):
                    raise RecordsError(f"{self}: {problem} in {self._given_by}")
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
            if later := migrating.unknown(connection):
                raise RecordsError(
                    f"{self}: expected tables of defect-detection {__version__} or earlier, received those of a later version "
                    f"(revision {', '.join(later)}). Install the later version here. Nothing was changed"
                )
            migrating.migrate(connection)

    def _alone(self) -> AbstractContextManager[Any]:
        return FileLock(f"{self.file}.lock", timeout=LOCK_TIMEOUT_S) if self.file else nullcontext()

    def _cure(self, said: str) -> str:
        if self.file is not None:
            return (
                explain_sqlite(said)
                or "Check whether the disk is full and whether this user can write the file"
            )
        return f"Check that the server is running and that {self._given_by} is correct"


@contextmanager
def _ended_after(session: Session, deadline_s: float) -> Iterator[None]:
    """Limit the time of the reads of a session; in PostgreSQL, of each statement."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"SET LOCAL statement_timeout = {max(1, round(1000 * deadline_s))}"))
        yield
        return
    end = time.monotonic() + deadline_s
    connection = session.connection().connection.driver_connection
    assert connection is not None
    connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
    try:
        yield
    finally:
        connection.set_progress_handler(None, 0)


def unindexed(column: Any) -> Any:
    """Return a column as one without an index, for a database that would choose the wrong one."""
    return func.coalesce(column, column)


def alone_with_jobs(session: Session) -> None:
    """Begin a transaction that starts a job. Only one such transaction runs at a time, so two jobs never start together."""
    _alone(session, _JOBS_LOCK)


def alone_with_labels(session: Session) -> None:
    """Begin a transaction that adds labels or deletes unlabelled rows. Only one such transaction runs at a time.

    SQLite allows only one writer anyway. In PostgreSQL each statement sees all earlier commits, so
    those after this one know all labels. Otherwise a label and the removal of what it is about could cross each other.
    """
    _alone(session, _LABELS_LOCK)


def _alone(session: Session, lock: int) -> None:
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"SELECT pg_advisory_xact_lock({lock})"))


def insert_missing(session: Session, table: type[BaseTable], rows: Sequence[Any]) -> None:
    """Insert rows, named as the table's columns; one that is there already, by its key, stays as it is."""
    if rows:
        session.connection().execute(_insert_into(table, session.get_bind().dialect.name)[0], rows)


def insert_or_replace(session: Session, table: type[BaseTable], rows: Sequence[Any]) -> None:
    """Insert rows, named as the table's columns; one that is there already, by its key, gets the new values."""
    if rows:
        session.connection().execute(_insert_into(table, session.get_bind().dialect.name)[1], rows)


@cache
def _insert_into(table: type[BaseTable], dialect: str) -> tuple[Any, Any]:
    """Return the statements that keep or replace existing rows. They use tables, because ORM classes take twice as long."""
    insert = (postgresql if dialect == "postgresql" else sqlite).insert(table.__table__)
    keys = [column.name for column in table.__table__.primary_key]
    new = {column.name: column for column in insert.excluded if column.name not in keys}
    return insert.on_conflict_do_nothing(), insert.on_conflict_do_update(index_elements=keys, set_=new)


def _driver_of(url: str, given_by: str) -> Any:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        raise RecordsError(_refusal(given_by, "an invalid address")) from error
    kind = parsed.drivername.partition("+")[0]
    if kind == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return parsed.set(drivername="sqlite", database=os.path.abspath(parsed.database or ""))  # noqa: PTH100
    if kind in ("postgresql", "postgres"):
        return _checked_driver(parsed.set(drivername="postgresql+psycopg"), given_by)
    raise RecordsError(_refusal(given_by, repr(parsed.render_as_string(hide_password=True))))


def _checked_driver(url: Any, given_by: str) -> Any:
    try:
        url.get_dialect().import_dbapi()
    except (ImportError, NoSuchModuleError) as error:
        raise RecordsError(
            f"{given_by}: PostgreSQL needs a driver: pip install 'defect-detection[postgres]'"
        ) from error
    return url


def _refusal(given_by: str, received: str) -> str:
    advice = "; unset it to use inspections.db beside config.yaml" if given_by == DATABASE_URL else ""
    return f"{given_by}: expected postgresql://user:password@host/database or sqlite:///file, received {received}{advice}"


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin in _begin_sqlite, also those of migrations
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('sqlite_begin', '')}")


def _first_line(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    said = (explain(cause) if isinstance(cause, OSError) else None) or str(cause)
    lines = said.strip().splitlines() or [type(cause).__name__]
    return lines[0][:300].rstrip(".")
