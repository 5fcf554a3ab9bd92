"""Connect to MLflow: a server, or the embedded SQLite store.

Nothing here sets MLflow's process-wide tracking URI (which would also rewrite ``MLFLOW_TRACKING_URI``):
a `Store` carries its own, so one process can use several. Importing this module doesn't import mlflow.
"""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from defect_detection.environment import quoted, why_too_old
from defect_detection.errors import TrackingError, explain, explain_sqlite
from defect_detection.files.unfinished import whole_file
from defect_detection.text import printable
from defect_detection.tracking.embedded import ARTIFACTS, alone, correct

PROBE_TIMEOUT_S = 5.0
_DATABASES = ("postgresql", "mysql")  # whose drivers take connect_timeout
_LOCKS = {  # any name, the same in every process; waits for another one that makes the tables
    "postgresql": "SELECT pg_advisory_lock(3141005)",
    "mysql": "SELECT GET_LOCK('defect_detection', 120)",
}
BUSY_S = 20.0  # a lock on the embedded store's file is waited for

# MLflow's own defaults: telemetry on, retries for minutes, links with emoji, and stack traces on the terminal
# of errors that it raises as well. What the user has set, stays.
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}

# What MLflow's page says of an experiment.
_ABOUT_TRAINING = (
    "Trainings of Defect Detection. Each training is a run with the figures of the best set; below it is one run for each "
    "hyperparameter set, with its figures, data and model."
)
_ABOUT = {
    "promotions": "The ledger of Defect Detection: one run for each decision about what is in production, with its report. "
    "`defect history` shows it as a table."
}

_CURES = {  # message of MLflow, and advice
    "Invalid Host header": " Add it to MLFLOW_SERVER_ALLOWED_HOSTS of the MLflow server.",
}

_ASIDE = "(raised as a result of Query-invoked autoflush"  # prefix of SQLAlchemy before the error


@dataclass(frozen=True, slots=True)
class Store:
    """One MLflow store. `client` is an ``mlflow.MlflowClient`` for tracking and registry."""

    uri: str
    client: Any
    experiment_id: str | None


def connect(tracking_uri: str, experiment: str | None = None) -> Store:
    """Open the store, and create it (SQLite) and the experiment when they aren't there yet.

    Args:
        tracking_uri: ``sqlite:///<file>`` for the embedded store, or the ``http(s)://`` address of a server.
        experiment: its name; none is needed to use the registry only.

    Raises:
        TrackingError: no server answers, the file can't be used, or the experiment has been deleted.
    """
    with reporting(tracking_uri, "connecting"):
        database = sqlite_file(tracking_uri)
        client = _embedded(tracking_uri, database) if database else _remote(tracking_uri)
        if experiment is None:
            return Store(tracking_uri, client, None)
        location = (database.parent / ARTIFACTS).as_uri() if database else None
        return Store(tracking_uri, client, _experiment_id(client, tracking_uri, experiment, location))


def check_store(tracking_uri: str) -> None:
    """Look whether there is a store, or place for one, without making anything.

    Raises:
        TrackingError: no server answers, or the file can't be used.
    """
    database = sqlite_file(tracking_uri)
    if database and not database.exists():
        return
    with reporting(tracking_uri, "connecting"):
        if database:
            _check_database(database)
        else:
            _check_remote(tracking_uri)


def sqlite_file(tracking_uri: str) -> Path | None:
    """Return the path of the embedded store's file, absolute and without links, or None for any other store."""
    if not tracking_uri.startswith("sqlite:///"):
        return None
    return Path(unquote(tracking_uri.removeprefix("sqlite:///").partition("?")[0])).resolve()


@contextmanager
def reporting(tracking_uri: str, doing: str) -> Iterator[None]:
    """Turn what MLflow, its database or its network raise into one `TrackingError` that names the store.

    Entering imports mlflow (3 s the first time) with `_DEFAULTS`, so every use of mlflow begins here.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    _require_home()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise TrackingError(f"{redacted(tracking_uri)}: {doing} failed: {_first_line(error)}") from error


def _require_home() -> None:
    """Let mlflow be imported by a user without a home folder, such as a container's user id without a name."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = os.sep


def redacted(text: str) -> str:
    """Hide user name and password of every address in the text."""
    return re.sub(r"://[^/@\s]+@", "://***@", text)


def _first_line(error: Exception) -> str:
    said = (explain(error) if isinstance(error, OSError) else None) or str(error)
    lines = [line for line in said.strip().splitlines() if not line.startswith(_ASIDE)] or [
        type(error).__name__
    ]
    cure = next((cure for sign, cure in _CURES.items() if sign in said), "")
    if "sqlite" in said.lower() and (advice := explain_sqlite(said)):
        cure = f". {advice}."
    return redacted(lines[0])[:400] + cure


def _embedded(uri: str, database: Path) -> Any:
    """Open the SQLite store, and correct its paths when its folder was moved or copied."""
    from mlflow import MlflowClient

    if printable(database) != str(database):  # MLflow would try for a minute to open it
        raise TrackingError(
            f"{database}: MLflow cannot open a path with control characters or bytes that are not UTF-8. Rename the folder, "
            "or set MLFLOW_TRACKING_URI to another store."
        )
    database.parent.mkdir(parents=True, exist_ok=True)
    with alone(database):
        if not database.exists():
            with whole_file(
                database
            ) as partial:  # a kill among MLflow's many steps would leave a file that never opens again
                _make_store(partial)
        _check_database(database)
        client = MlflowClient(uri, registry_uri=uri)
        correct(database)
        return client


def _make_store(database: Path) -> None:
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine
    from sqlalchemy import event

    engine = create_sqlalchemy_engine(f"sqlite:///{quoted(database)}")
    event.listen(engine, "connect", _without_waiting)
    try:
        _initialize_tables(engine)
    finally:
        engine.dispose()
    with database.open("rb+") as file:
        os.fsync(file.fileno())


def _without_waiting(connection: sqlite3.Connection, _record: object) -> None:
    """Let no step of MLflow's migrations wait for the disk: the file counts only once it is whole, and is synced then."""
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = MEMORY")


def _check_database(database: Path) -> None:
    """Refuse a file that is not SQLite immediately, because MLflow would retry for more than a minute."""
    try:
        with closing(sqlite3.connect(database, timeout=BUSY_S)) as connection:
            connection.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        raise TrackingError(
            f"{database}: expected a writable SQLite database, received: {error}. {explain_sqlite(str(error))}."
        ) from error


def _remote(uri: str) -> Any:
    from mlflow import MlflowClient

    _check_remote(uri)
    if uri.startswith(_DATABASES):
        _make_tables(uri)
    return MlflowClient(uri, registry_uri=uri)


def _make_tables(uri: str) -> None:
    """Make MLflow's tables, one process at a time: MLflow takes the first tables that another one has made for all of them."""
    from mlflow.store.db.utils import _all_tables_exist, _initialize_tables
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    engine = create_engine(uri, poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(_LOCKS[engine.dialect.name]))  # until the connection is closed
        if not _all_tables_exist(engine):
            _initialize_tables(engine)


def _check_remote(uri: str) -> None:
    if uri.startswith(("http://", "https://")):
        _check_server(uri)
    elif uri.startswith(_DATABASES):
        _check_database_server(uri)


def _check_database_server(uri: str) -> None:
    """Connect once, with a short limit: MLflow tries for more than 30 s before it gives up."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    limit = {"connect_timeout": int(PROBE_TIMEOUT_S)}
    try:
        with create_engine(uri, poolclass=NullPool, connect_args=limit).connect() as connection:
            server = connection.dialect
            if server.name == "postgresql" and (problem := why_too_old(server.server_version_info)):
                raise TrackingError(
                    f"{redacted(uri)}: {problem} in MLFLOW_TRACKING_URI (environment or .env)."
                )
    except ImportError as error:
        raise TrackingError(
            f"{redacted(uri)}: the driver {error.name} is not installed. For PostgreSQL: pip install 'defect-detection[postgres]'"
        ) from error
    except (SQLAlchemyError, OSError, ValueError) as error:
        raise TrackingError(
            f"{redacted(uri)}: this database of MLflow cannot be used: {_first_line(error)}. Start it, or correct "
            "MLFLOW_TRACKING_URI (environment or .env); unset it to use the embedded SQLite store."
        ) from error


def _check_server(uri: str) -> None:
    """Ask once, with a short limit: MLflow's own calls try for minutes before they give up."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    try:
        http_request(get_default_host_creds(uri), "/health", "GET", timeout=PROBE_TIMEOUT_S, max_retries=0)
    except (MlflowException, OSError) as error:
        raise TrackingError(
            f"{redacted(uri)}: no MLflow server responded within {PROBE_TIMEOUT_S:.0f} s. Start it, or correct "
            "MLFLOW_TRACKING_URI (environment or .env); unset it to use the embedded SQLite store."
        ) from error


def _experiment_id(client: Any, uri: str, name: str, location: str | None) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            about = {"mlflow.note.content": _ABOUT.get(name.partition(".")[0], _ABOUT_TRAINING)}
            return str(client.create_experiment(name, artifact_location=location, tags=about))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # another process has just made it
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"{redacted(uri)}: the experiment '{name}' was deleted. Restore it with `mlflow experiments restore "
            f"--experiment-id {found.experiment_id}`, or set another mlflow.experiment_name."
        )
    return str(found.experiment_id)
