"""The embedded store's SQLite file: read it without mlflow, and correct its paths after a move.

MLflow records whole paths, but a project is moved, copied and restored elsewhere. The files of the store always lie beside it
in `ARTIFACTS`, so the location of an experiment tells in which folder the store was. Where that is another folder, readers see
corrected paths, and `correct` writes them. See docs/decisions/0017-embedded-store-paths.md.
"""

import logging
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import quote, unquote

from filelock import FileLock, Timeout

from defect_detection.errors import TrackingError

ARTIFACTS = "mlartifacts"  # beside the SQLite file
LOCK_TIMEOUT_S = 120.0  # a first start takes seconds, on a busy machine tens of them
_BUSY_S = 20.0

# The columns of MLflow's tables that hold addresses of files, or texts that can be one.
_LOCATION = ("experiments", "artifact_location")
_ADDRESSES = (
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("datasets", "dataset_source"),
)
_TEXTS = (
    ("experiment_tags", "value"),
    ("tags", "value"),
    ("params", "value"),
    ("input_tags", "value"),
    ("logged_model_tags", "tag_value"),
    ("logged_model_params", "param_value"),
    ("registered_model_tags", "value"),
    ("model_version_tags", "value"),
    ("trace_tags", "value"),
    ("trace_request_metadata", "value"),
)
_COUNTED = ("experiments", "runs", "logged_models")

log = logging.getLogger(__name__)


@dataclass
class Relocation:
    """The former folders and the present folder of the store.

    Attributes:
        old: recorded folders, as the text of a path: ``/srv/line1``, ``/C:/line1`` on Windows.
        folder: the present one.
        left: addresses that `located` left as they were, because only the old folder has their files.
    """

    old: Sequence[str]
    folder: Path
    left: set[str] = field(default_factory=set)

    @cached_property
    def here(self) -> str:
        return _folder_text(self.folder)

    @cached_property
    def _longest_first(self) -> list[str]:
        """One folder may lie inside the other."""
        return sorted({*self.old, self.here}, key=len, reverse=True)

    def located(self, address: str | None) -> str | None:
        """Return the address in the present folder, in the same form. Addresses outside the old folders are unchanged."""
        found = self._below(address)
        if address is None or found is None:
            return address
        old, rest = found
        if not (self.folder / rest.lstrip("/")).exists() and _path(old + rest).exists():
            self.left.add(address)
            return address
        return self._moved(address, rest)

    def relocated(self, address: str | None) -> str | None:
        """Like `located`, wherever the files are, because new files belong to the present folder."""
        found = self._below(address)
        return address if address is None or found is None else self._moved(address, found[1])

    def _moved(self, address: str, rest: str) -> str:
        if _is_uri(address):
            return self.folder.as_uri().rstrip("/") + quote(rest)
        return str(self.folder).rstrip("/") + rest

    def _below(self, address: str | None) -> tuple[str, str] | None:
        """Return the old folder and the rest of a path in it."""
        text = _path_text(address) if isinstance(address, str) else ""
        for folder in self._longest_first:
            if _is_below(text, folder):
                return None if folder == self.here else (folder, text[len(folder) :])
        return None


@contextmanager
def alone(database: Path) -> Iterator[None]:
    """Hold the store's lock during the block. Processes that migrate one new file at the same time break it.

    Raises:
        TrackingError: another process keeps it.
    """
    try:
        with FileLock(f"{database}.lock", timeout=LOCK_TIMEOUT_S):
            yield
    except Timeout as error:
        raise TrackingError(
            f"{database}.lock: another process has held this lock for {LOCK_TIMEOUT_S:.0f} s. Wait for it or end it, and "
            "try again."
        ) from error


@contextmanager
def opened(database: Path, *, may_correct: bool = False) -> Iterator[sqlite3.Connection]:
    """Open the file to read from it. Its SQL has a function ``located`` that gives an address as it is here and now.

    Args:
        may_correct: correct the paths in the file first, where its folder has changed and it can be written.

    Raises:
        sqlite3.Error: it can't be read, or isn't a store of MLflow.
    """
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)) as connection:
        move = _move(connection, database.parent)
        if move and may_correct:
            with suppress(sqlite3.Error, OSError, TrackingError), alone(database):
                correct(database)
        connection.create_function("located", 1, move.located if move else lambda address: address)
        yield connection


def correct(database: Path) -> None:
    """Make all paths in the file those of its present folder, in one transaction, and say so. Call it under the store's lock.

    Raises:
        sqlite3.Error: the file can't be written; nothing was changed.
    """
    with closing(sqlite3.connect(database, timeout=_BUSY_S, isolation_level=None)) as connection:
        move = _move(connection, database.parent)
        if not move:
            return
        connection.execute("BEGIN IMMEDIATE")
        changed = _rewrite(connection, move)
        connection.execute("COMMIT")
    left = (
        f"; the files of {len(move.left)} of them exist only there and are read from there"
        if move.left
        else ""
    )
    log.warning(
        "The project was moved from %s: paths of %d experiments, runs and models were corrected%s",
        ", ".join(str(_path(old)) for old in move.old),
        changed,
        left,
    )


def point(database: Path, name: str, alias: str, version: int) -> None:
    """Point an alias to another version where the disk has no room for SQLite's journal.

    One page of the file is overwritten in place, which needs no room; a kill leaves the old version or the new one.

    Raises:
        sqlite3.Error: there is no such alias, or the file can't be written at all.
    """
    with closing(sqlite3.connect(database, timeout=_BUSY_S, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = MEMORY")
        done = connection.execute(
            "UPDATE registered_model_aliases SET version = ? WHERE workspace = 'default' AND name = ? AND alias = ?",
            (version, name, alias),
        )
        if done.rowcount != 1:
            raise sqlite3.OperationalError(f"{name} has no alias {alias} yet")


def forget_tags(database: Path, prefix: str) -> None:
    """Remove tags of experiments whose names begin so: of a copy, whose original's processes mean nothing to it."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM experiment_tags WHERE substr(key, 1, ?) = ?", (len(prefix), prefix))


def _rewrite(connection: sqlite3.Connection, move: Relocation) -> int:
    """Return how many experiments, runs and models got another path."""
    connection.create_function("located", 1, move.located)
    connection.create_function("relocated", 1, move.relocated)
    known = set(
        connection.execute(
            "SELECT m.name, c.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c WHERE m.type = 'table'"
        )
    )
    changed = 0
    for table, column in (_LOCATION, *_ADDRESSES, *_TEXTS):
        if (table, column) not in known:
            continue  # another version of MLflow
        new = f"{'relocated' if (table, column) == _LOCATION else 'located'}({column})"
        done = connection.execute(f"UPDATE {table} SET {column} = {new} WHERE {column} != {new}")  # noqa: S608  our own constants
        changed += done.rowcount if table in _COUNTED else 0
    return changed


def _move(connection: sqlite3.Connection, folder: Path) -> Relocation | None:
    """Return where the store has come from, or None when it is where it was."""
    end = f"/{ARTIFACTS}"
    recorded = {
        _path_text(location).rstrip("/")
        for (location,) in connection.execute("SELECT artifact_location FROM experiments")
        if location
    }
    folders = {text.removesuffix(end) for text in recorded if text.endswith(end)}
    old = [one for one in folders - {_folder_text(folder)} if not _is_same(_path(one), folder)]
    return Relocation(sorted(old), folder) if old else None


def _is_same(old: Path, folder: Path) -> bool:
    """Check whether two paths lead to the same folder, for example through a link."""
    try:
        return old.samefile(folder)
    except OSError:
        return False


def _is_uri(address: str) -> bool:
    return address.startswith("file:")


def _path_text(address: str) -> str:
    """Return the path that an address names, in one form for URIs, plain paths and those of Windows."""
    if _is_uri(address):
        return unquote(address.removeprefix("file:").removeprefix("//"))
    if re.match(r"[A-Za-z]:[\\/]", address):
        return "/" + address.replace("\\", "/")
    return address


def _folder_text(folder: Path) -> str:
    return _path_text(folder.as_uri()).rstrip("/")


def _is_below(text: str, folder: str) -> bool:
    """Of a store that was in the root folder, whose text is empty, only the artifacts are its own."""
    return text == folder != "" or text.startswith(f"{folder}/" if folder else f"/{ARTIFACTS}/")


def _path(text: str) -> Path:
    return Path(text[1:] if re.match("/[A-Za-z]:", text) else text or "/")
