"""List the versions of a registered model without importing mlflow: for a server that must stay small."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any

from defect_detection.errors import TrackingError
from defect_detection.tracking.embedded import opened
from defect_detection.tracking.registry import ModelRef
from defect_detection.tracking.rest import ask
from defect_detection.tracking.store import redacted, sqlite_file


@dataclass(frozen=True, slots=True)
class Listed:
    """A version with what is known of it. `metrics`: those of the run that trained it."""

    reference: ModelRef
    created: datetime
    aliases: tuple[str, ...]
    metrics: Mapping[str, float]


def versions_of(tracking_uri: str, name: str, most: int = 20) -> list[Listed]:
    """Return the newest versions of a registered model, the newest first; none when there is no such model.

    Raises:
        TrackingError: the store can't be read, or isn't one of MLflow 3.
    """
    database = sqlite_file(tracking_uri)
    if database and not database.exists():
        return []
    try:
        return _in_file(database, name, most) if database else _on_server(tracking_uri, name, most)
    except (sqlite3.Error, HTTPException, OSError, LookupError, ValueError) as error:
        raise TrackingError(
            f"{redacted(tracking_uri)}: listing the versions of {name} failed: {error}"
        ) from error


def _in_file(database: Path, name: str, most: int) -> list[Listed]:
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
) -> Listed:
    which = (name, version)
    tags = connection.execute(
        "SELECT key, value FROM model_version_tags WHERE workspace = 'default' AND name = ? AND version = ?",
        which,
    ).fetchall()
    aliases = connection.execute(
        "SELECT alias FROM registered_model_aliases WHERE workspace = 'default' AND name = ? AND version = ?",
        which,
    ).fetchall()
    metrics = connection.execute(
        "SELECT key, value FROM latest_metrics WHERE run_uuid = ? AND NOT is_nan", (run_id,)
    ).fetchall()
    reference = ModelRef(name, version, run_id or "", dict(tags), location or source)
    return Listed(reference, _moment(created_ms), tuple(sorted(alias for (alias,) in aliases)), dict(metrics))


def _on_server(tracking_uri: str, name: str, most: int) -> list[Listed]:
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


def _of_answer(tracking_uri: str, found: dict[str, Any], aliases: dict[int, list[str]]) -> Listed:
    version, run_id = int(found["version"]), found.get("run_id", "")
    run = (ask(tracking_uri, "runs/get", run_id=run_id) if run_id else None) or {}
    metrics = run.get("run", {}).get("data", {}).get("metrics", [])
    tags = {tag["key"]: tag["value"] for tag in found.get("tags", [])}
    return Listed(
        ModelRef(found["name"], version, run_id, tags),
        _moment(int(found["creation_timestamp"])),
        tuple(sorted(aliases.get(version, []))),
        {metric["key"]: float(metric["value"]) for metric in metrics},
    )


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
