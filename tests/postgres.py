"""A PostgreSQL server of the tests' own: started once, on a free port of this machine, and thrown away.

`postgres_url` gives a test an empty database; `postgres_records_url` one with the empty tables of inspections, which takes
a tenth of the time. Where the server's programs are not installed the test is skipped with the
reason, or fails when ``REQUIRE_POSTGRES=1``, as ``.ci/run`` sets it where they are to be there.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from waiting import LIMIT_S

from benchmarks.ports import free_port
from defect_detection.records.database import Database
from defect_detection.records.tables import BaseTable

INSTALLED = "/usr/lib/postgresql/*/bin"  # where Debian keeps them, out of PATH
# What a server of a few seconds can do without: safety against power failure.
OPTIONS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=16MB")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a running server, without a database: ``postgresql+psycopg://postgres@127.0.0.1:<port>``."""
    initdb, postgres = program("initdb"), program("postgres")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # tmp_path can't be entered by another user
    try:
        with_owner(folder)
        data = folder / "data"
        create = [
            initdb,
            "-D",
            data,
            *["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        ]
        subprocess.run(create, check=True, stdout=subprocess.PIPE, cwd=folder, **as_ordinary_user())
        yield from running(postgres, data, free_port())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """The address of a new, empty database, as SQLAlchemy and MLflow take it."""
    return new_database(postgres_server)


@pytest.fixture(scope="session")
def _migrated(postgres_server: str) -> str:
    url = new_database(postgres_server)
    with closing(Database(url)) as database, database.reading():
        pass
    return url


@pytest.fixture
def postgres_records_url(_migrated: str) -> str:
    """The address of a database that has the tables of inspections, without a row. Others of its tests had it before."""
    names = ", ".join(table.name for table in BaseTable.metadata.sorted_tables)
    with psycopg.connect(plain(_migrated), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid != pg_backend_pid()"
        )
        connection.execute(f"TRUNCATE {names} RESTART IDENTITY")
    return _migrated


def new_database(server: str) -> str:
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(f"{plain(server)}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server}/{name}"


def program(name: str) -> str:
    """Return the path of a program of PostgreSQL's server, else skip the test, or fail it where it is required."""
    installed = [str(folder) for folder in sorted(Path("/").glob(INSTALLED.lstrip("/")), reverse=True)]
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *installed]))
    if found is None:
        missing = f"PostgreSQL's server is not installed: no {name} in PATH or {INSTALLED}"
        if os.environ.get("REQUIRE_POSTGRES") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def plain(url: str) -> str:
    """Return the address as psycopg itself takes it, without SQLAlchemy's name of the driver."""
    return url.replace("postgresql+psycopg://", "postgresql://")


def running(postgres: str, data: Path, port: int) -> Iterator[str]:
    command = [postgres, "-D", data, "-p", str(port), "-k", data, "-c", "listen_addresses=127.0.0.1"]
    command += [part for option in OPTIONS for part in ("-c", option)]
    log = data.parent / "log.txt"
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, cwd=data.parent, **as_ordinary_user())
    try:
        url = f"postgresql+psycopg://postgres@127.0.0.1:{port}"
        wait_for(url, server, log)
        yield url
    finally:
        server.send_signal(signal.SIGQUIT)  # ends the connections that are left, at once
        server.wait(timeout=LIMIT_S)


def wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end and server.poll() is None:
        try:
            psycopg.connect(f"{plain(url)}/postgres", connect_timeout=5).close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"PostgreSQL doesn't answer:\n{log.read_text()}")


def as_ordinary_user() -> dict[str, Any]:
    """Return the arguments of ``subprocess`` for a program that refuses to run as root."""
    return {"user": "nobody", "group": owner_group(), "extra_groups": ()} if os.geteuid() == 0 else {}


def owner_group() -> int:
    import pwd

    return pwd.getpwnam("nobody").pw_gid


def with_owner(folder: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody", owner_group())
