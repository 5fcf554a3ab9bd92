"""Read registered models without importing mlflow, from the embedded store's tables or a server's REST interface."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any

from defect_detection.errors import TrackingError
from defect_detection.model.seal import SEAL_TAG
from defect_detection.tracking.embedded import opened
from defect_detection.tracking.rest import ask
from defect_detection.tracking.store import redacted, sqlite_file


@dataclass(frozen=True, slots=True)
class ModelRef:
    """One version of a registered model. `location`: of its files; "" if only the server knows it."""

    name: str
    version: int
    run_id: str
    tags: Mapping[str, str]
    location: str = ""

    @property
    def model_uri(self) -> str:
        return f"models:/{self.name}/{self.version}"

    @property
    def seal(self) -> str | None:
        """Its seal (`model.seal`); None for a version that was registered by an earlier package."""
        return self.tags.get(SEAL_TAG)

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


@dataclass(frozen=True, slots=True)
class ListedVersion:
    """A version with its details. `metrics`: of its training run."""

    reference: ModelRef
    created: datetime
    aliases: tuple[str, ...]
    metrics: Mapping[str, float]


def looked_up(database: Path, name: str, alias: str, may_correct: bool) -> ModelRef | None:
    """Read from MLflow's own tables.

    Raises:
        sqlite3.Error: the file, or a table or column, isn't what it was in MLflow 3.17.
        LookupError: the alias isn't kept in a table.
    """
    if alias == "latest":
        raise LookupError("no stored alias: MLflow means the newest version")
    which = {"name": name, "alias": alias}
    with opened(database, may_correct=may_correct) as connection:
        row = connection.execute(
            "SELECT v.version, v.run_id, located(v.source), located(v.storage_location) FROM registered_model_aliases AS a "
            "JOIN model_versions AS v USING (workspace, name, version) "
            "WHERE a.workspace = 'default' AND a.name = :name AND a.alias = :alias",
            which,
        ).fetchone()
        if row is None:
            return None
        version, run_id, source, location = row
        return _reference(connection, name, version, run_id, location or source)


def _reference(
    connection: sqlite3.Connection, name: str, version: int, run_id: str | None, location: str
) -> ModelRef:
    tags = connection.execute(
        "SELECT key, value FROM model_version_tags WHERE workspace = 'default' AND name = ? AND version = ?",
        (name, version),
    ).fetchall()
    return ModelRef(name, version, run_id or "", dict(tags), location)


def asked(tracking_uri: str, name: str, alias: str) -> ModelRef | None:
    """Ask a server.

    Raises:
        OSError, HTTPException: it can't be reached, or refuses.
        LookupError, ValueError: not a server's address, or not the response of an MLflow server.
    """
    answer = ask(tracking_uri, "registered-models/alias", name=name, alias=alias)
    if answer is None:
        return None
    return _reference_of(answer["model_version"])


def _reference_of(found: dict[str, Any]) -> ModelRef:
    tags = {tag["key"]: tag["value"] for tag in found.get("tags", [])}
    return ModelRef(found["name"], int(found["version"]), found.get("run_id", ""), tags)


def versions_of(tracking_uri: str, name: str, most: int = 20) -> list[ListedVersion]:
    """Return the newest versions of a registered model, the newest first; none when there is no such model.

    Raises:
        TrackingError: the store can't be read, or isn't one of MLflow 3.
    """
    database = sqlite_file(tracking_uri)
    if database and not database.exists():
        return []
    with telling(tracking_uri, f"listing the versions of {name}"):
        return _in_file(database, name, most) if database else _on_server(tracking_uri, name, most)


@contextmanager
def telling(tracking_uri: str, doing: str) -> Iterator[None]:
    """Convert errors of reading to a `TrackingError` that names the operation."""
    try:
        yield
    except (sqlite3.Error, HTTPException, OSError, LookupError, ValueError) as error:
        raise TrackingError(f"{redacted(tracking_uri)}: {doing} failed: {error}") from error


def _in_file(database: Path, name: str, most: int) -> list[ListedVersion]:
    with opened(database) as connection:
        rows = connection.execute(
            "SELECT version, run_id, creation_time, located(storage_location), located(source) FROM model_versions "
            "WHERE workspace = 'default' AND name = ? AND current_stage != 'Deleted_Internal' "
            "ORDER BY version DESC LIMIT ?",
            (name, most),
        ).fetchall()
        return [_of_row(connection, name, *row) for row in rows]


def _of_row(
    connection: sqlite3.Connection,
    name: str,
    version: int,
    run_id: str,
    created_ms: int,
    location: str,
    source: str,
) -> ListedVersion:
    aliases = connection.execute(
        "SELECT alias FROM registered_model_aliases WHERE workspace = 'default' AND name = ? AND version = ?",
        (name, version),
    ).fetchall()
    metrics = connection.execute(
        "SELECT key, value FROM latest_metrics WHERE run_uuid = ? AND NOT is_nan", (run_id,)
    ).fetchall()
    reference = _reference(connection, name, version, run_id, location or source)
    return ListedVersion(
        reference, moment(created_ms), tuple(sorted(alias for (alias,) in aliases)), dict(metrics)
    )


def _on_server(tracking_uri: str, name: str, most: int) -> list[ListedVersion]:
    quoted = name.replace("'", "")  # no name of a model holds one
    answer = ask(
        tracking_uri,
        "model-versions/search",
        filter=f"name='{quoted}'",
        max_results=most,
        order_by="version_number DESC",
    )
    model = ask(tracking_uri, "registered-models/get", name=name) or {}
    aliases: dict[int, list[str]] = {}
    for one in model.get("registered_model", {}).get("aliases", []):
        aliases.setdefault(int(one["version"]), []).append(one["alias"])
    return [_of_answer(tracking_uri, found, aliases) for found in (answer or {}).get("model_versions", [])]


def _of_answer(tracking_uri: str, found: dict[str, Any], aliases: dict[int, list[str]]) -> ListedVersion:
    reference = _reference_of(found)
    run_id = reference.run_id
    run = (ask(tracking_uri, "runs/get", run_id=run_id) if run_id else None) or {}
    metrics = run.get("run", {}).get("data", {}).get("metrics", [])
    return ListedVersion(
        reference,
        moment(int(found["creation_timestamp"])),
        tuple(sorted(aliases.get(reference.version, []))),
        {metric["key"]: float(metric["value"]) for metric in metrics},
    )


def moment(milliseconds: int) -> datetime:
    """Return the time of MLflow's milliseconds since 1970, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
