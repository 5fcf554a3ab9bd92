"""The database: its tables, and how it is opened, lost and found again."""

import shutil
import socket
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from defect_detection import environment
from defect_detection.errors import RecordsError, SlowReadError, TrackingError
from defect_detection.records.database import Database
from defect_detection.records.keys import create_key, list_keys
from defect_detection.records.migrating import MIGRATIONS
from defect_detection.records.tables import BaseTable
from defect_detection.tracking.store import check_store


def names_of_keys(database: Database) -> list[str]:
    return [key.name for key in list_keys(database)]


def test_the_migrations_make_the_tables_that_the_code_expects(records):
    with records.database.reading() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        assert compare_metadata(context, BaseTable.metadata) == []


def test_a_database_that_lacks_the_last_migration_gets_it(records, database_url):
    """One that has it needs no Alembic; of these, the last is not the one with the highest number."""
    script = ScriptDirectory(str(MIGRATIONS))
    last = script.get_revision("head")
    with records.database.writing() as session:
        assert session.scalar(text("SELECT version_num FROM alembic_version")) == last.revision
        connection = session.connection()
        context = MigrationContext.configure(connection)
        with Operations.context(context):
            last.module.downgrade()
        context.stamp(script, last.down_revision)
    again = Database(database_url)
    with again.reading() as session:
        context = MigrationContext.configure(session.connection())
        assert context.get_current_revision() == last.revision
        assert compare_metadata(context, BaseTable.metadata) == []
    again.close()


def test_a_database_of_a_later_version_is_refused_and_stays_as_it_is(records, database_url):
    def write(revision: str) -> str:
        with records.database.writing() as session:
            before = session.scalar(text("SELECT version_num FROM alembic_version"))
            session.execute(
                text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision}
            )
        return before

    known, again = write("later"), Database(database_url)
    with pytest.raises(RecordsError, match=r"of a later version \(revision later\). Install the later"):
        names_of_keys(again)
    assert write(known) == "later"
    assert names_of_keys(again) == []
    again.close()


def test_processes_that_start_at_the_same_time_share_one_migration_and_log_nothing(
    new_database_url,
):
    code = (
        "import logging, sys; logging.basicConfig(level=logging.INFO); from defect_detection.records.database import Database; "
        "from defect_detection.records.keys import list_keys; print(list_keys(Database(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, new_database_url]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(2)]
    assert [process.communicate()[0] for process in started] == [b"[]\n"] * 2


def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path):
    """Its third table can't be made, because something has the name."""
    with closing(sqlite3.connect(tmp_path / "inspections.db")) as connection:
        connection.execute("CREATE TABLE feedback (id)")
        with pytest.raises(RecordsError, match="table feedback already exists"):
            names_of_keys(Database(f"sqlite:///{tmp_path}/inspections.db"))
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    assert tables == [("feedback",)]


def test_what_is_written_is_written_whole_or_not_at_all(records):
    def write_and_fail():
        with records.database.writing() as session:
            session.execute(
                text("INSERT INTO images (sha256, suffix, n_bytes, at) VALUES ('a', '.png', 1, '2026-01-01')")
            )
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_fail()
    with records.database.reading() as session:
        assert session.scalar(text("SELECT count(*) FROM images")) == 0


def test_a_reader_doesnt_wait_for_a_writer(records):
    create_key(records.database, "before", "operator")
    with records.database.writing() as session:
        session.execute(text("UPDATE api_keys SET role = 'admin'"))
        assert [key.role for key in list_keys(records.database)] == ["operator"]


def test_a_deleted_file_is_noticed_and_made_again(tmp_path):
    """SQLite itself would go on writing to the deleted file, and all would be gone at the next start."""
    database = Database(f"sqlite:///{tmp_path}/inspections.db")
    create_key(database, "first", "operator")
    for file in tmp_path.glob("inspections.db*"):
        file.unlink()
    create_key(database, "second", "operator")
    assert names_of_keys(Database(f"sqlite:///{tmp_path}/inspections.db")) == ["second"]


def test_a_lost_file_is_an_error_that_names_it_until_it_is_back(tmp_path):
    file = tmp_path / "inspections.db"
    database = Database(f"sqlite:///{file}")
    create_key(database, "first", "operator")
    database.close()
    file.rename(tmp_path / "away.db")
    file.mkdir()
    for _ in range(2):
        with pytest.raises(RecordsError, match=rf"{file}: unable to open database file\. Check that"):
            names_of_keys(database)
    file.rmdir()
    shutil.move(tmp_path / "away.db", file)
    assert names_of_keys(database) == ["first"]


def test_a_file_that_is_no_database_is_an_error(tmp_path):
    (tmp_path / "inspections.db").write_text("something else" * 100)
    with pytest.raises(RecordsError, match=r"inspections\.db: file is not a database"):
        names_of_keys(Database(f"sqlite:///{tmp_path}/inspections.db"))


@pytest.mark.parametrize(
    "url", ["mysql://user:secret@host/name", "nonsense", "sqlite://", "postgresql://u:secret@h:port/n"]
)
def test_another_address_is_refused_without_its_password(url):
    with pytest.raises(RecordsError, match=r"DATABASE_URL .*: expected postgresql://") as caught:
        Database(url)
    assert "secret" not in str(caught.value)


def test_a_server_that_isnt_there_is_an_error_without_the_password():
    database = Database("postgresql://user:secret@127.0.0.1:1/name")
    with pytest.raises(RecordsError, match="Check that the server is running") as caught:
        names_of_keys(database)
    assert "secret" not in str(caught.value)


def test_a_server_that_just_failed_isnt_asked_again_at_once():
    """Else a server that doesn't answer would take all threads of the API, one connection attempt after the other."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        database = Database(f"postgresql://user@127.0.0.1:{listener.getsockname()[1]}/name")
        with pytest.raises(RecordsError, match="Connection refused"):
            names_of_keys(database)
        listener.listen()
        listener.setblocking(False)
        with pytest.raises(RecordsError, match="Connection refused"):
            names_of_keys(database)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("session", ["reading", "writing"])
def test_what_the_caller_cannot_open_is_not_a_failure_of_the_database(session, tmp_path):
    database = Database(f"sqlite:///{tmp_path}/inspections.db")
    with pytest.raises(FileNotFoundError), getattr(database, session)():
        (tmp_path / "missing" / "image.png").read_bytes()
    database.close()


def test_a_locked_database_is_left_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr("defect_detection.records.database.BUSY_TIMEOUT_S", 0.1)
    database = Database(f"sqlite:///{tmp_path}/inspections.db")
    with database.writing():
        pass
    with closing(sqlite3.connect(tmp_path / "inspections.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with (
            pytest.raises(RecordsError, match=r"Another program has the file open.*not damaged"),
            database.writing() as session,
        ):
            session.connection()
    database.close()


def test_threads_that_open_databases_at_the_same_time_each_get_their_tables(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        databases = [Database(f"sqlite:///{tmp_path}/{number}.db") for number in range(24)]
        assert list(threads.map(names_of_keys, databases)) == [[]] * len(databases)


def test_a_read_is_ended_at_its_deadline_and_the_database_goes_on(records):
    endless = text("WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c")
    with (
        pytest.raises(SlowReadError, match=r"stopped after 0\.05 s.*since, until"),
        records.database.reading(deadline_s=0.05) as session,
    ):
        session.execute(endless)
    assert list_keys(records.database) == []
    with records.database.reading() as session:
        assert session.scalar(text("SELECT 1")) == 1


def test_an_earlier_postgresql_is_refused_by_records_and_by_mlflow(postgres_url, monkeypatch):
    monkeypatch.setattr(environment, "OLDEST_POSTGRES", 99)
    said = r"expected PostgreSQL 99 or later, received \d+.* Update the server"
    with (
        closing(Database(postgres_url)) as database,
        pytest.raises(RecordsError, match=said),
        database.reading(),
    ):
        pass
    with pytest.raises(TrackingError, match=said):
        check_store(postgres_url)
    monkeypatch.setattr(environment, "OLDEST_POSTGRES", 13)
    with closing(Database(postgres_url)) as database, database.reading():
        pass
