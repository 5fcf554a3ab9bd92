"""Read the ledger without importing mlflow, which takes seconds and much memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from defect_detection.tracking.embedded import opened
from defect_detection.tracking.lease import PROMOTIONS
from defect_detection.tracking.ledger_entry import LedgerEntry, entry_of, is_entry
from defect_detection.tracking.reading import telling
from defect_detection.tracking.rest import ask
from defect_detection.tracking.store import sqlite_file

REPORT = "report/report.html"  # among the artifacts of an entry's run
_PAGE = 500
_ACTIVE = "active"

_RUNS = (
    "FROM runs JOIN experiments USING (experiment_id) WHERE workspace = 'default' AND experiments.name = ? "
    "AND runs.lifecycle_stage = 'active'"
)
_STAGE = "SELECT lifecycle_stage FROM experiments WHERE workspace = 'default' AND name = ?"
_OF_RUNS = f"WHERE run_uuid IN (SELECT run_uuid {_RUNS})"
_TAGS = f"SELECT run_uuid, key, value FROM tags {_OF_RUNS}"  # noqa: S608  our own constants
_TRAINED = f"SELECT run_uuid, value FROM params {_OF_RUNS} AND key = 'candidate_run_id'"  # noqa: S608


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """An entry with the training run of its candidate ("" if unknown), and whether its report is available."""

    entry: LedgerEntry
    candidate_run_id: str
    has_report: bool


def list_entries(tracking_uri: str, experiment: str = PROMOTIONS) -> list[ListedEntry]:
    """Return all entries of a ledger, newest first.

    Raises:
        TrackingError: the store can't be read, or isn't one of MLflow 3, or the experiment has been deleted.
    """
    database = sqlite_file(tracking_uri)
    if database and not database.exists():
        return []
    with telling(tracking_uri, "reading the ledger"):
        found = list(_in_file(database, experiment) if database else _on_server(tracking_uri, experiment))
    return sorted(found, key=lambda one: (one.entry.number, one.entry.when), reverse=True)


def report_of(tracking_uri: str, run_id: str, experiment: str = PROMOTIONS) -> Path | None:
    """Return the report that an entry was decided on, or None when this machine doesn't have it.

    Returns only files of runs of the ledger in the embedded store, for any `run_id`.

    Raises:
        TrackingError: the store can't be read.
    """
    database = sqlite_file(tracking_uri)
    if not database or not database.exists():
        return None
    with telling(tracking_uri, "looking for a report"), opened(database) as connection:
        row = connection.execute(
            f"SELECT located(artifact_uri) {_RUNS} AND run_uuid = ?",
            (experiment, run_id),
        ).fetchone()
    return _report_in(row[0]) if row else None


def _in_file(database: Path, experiment: str) -> Iterator[ListedEntry]:
    with opened(database) as connection:
        stage = connection.execute(_STAGE, (experiment,)).fetchone()
        _require_active(experiment, stage[0] if stage else _ACTIVE)
        runs = connection.execute(
            f"SELECT run_uuid, start_time, located(artifact_uri) {_RUNS}", (experiment,)
        ).fetchall()
        tag_rows = connection.execute(_TAGS, (experiment,)).fetchall()
        trained = dict(connection.execute(_TRAINED, (experiment,)).fetchall())
    tags: dict[str, dict[str, str]] = {}
    for run_id, key, value in tag_rows:
        tags.setdefault(run_id, {})[key] = value
    for run_id, start_ms, artifacts in runs:
        if is_entry(tags.get(run_id, {})):
            entry = entry_of(run_id, start_ms, tags[run_id])
            yield ListedEntry(entry, trained.get(run_id, ""), _report_in(artifacts) is not None)


def _require_active(experiment: str, stage: str) -> None:
    if stage != _ACTIVE:
        raise LookupError(f"the experiment '{experiment}' was deleted")


def _report_in(artifact_uri: str) -> Path | None:
    parts = urlsplit(artifact_uri)
    file = Path(unquote(parts.path)) / REPORT
    return file if parts.scheme in ("", "file") and file.is_file() else None


def _on_server(tracking_uri: str, experiment: str) -> Iterator[ListedEntry]:
    found = ask(tracking_uri, "experiments/get-by-name", experiment_name=experiment)
    if found is None:
        return
    _require_active(experiment, found["experiment"]["lifecycle_stage"])
    asked: dict[str, Any] = {
        "experiment_ids": [found["experiment"]["experiment_id"]],
        "max_results": _PAGE,
    }
    while True:
        answer = ask(tracking_uri, "runs/search", asked) or {}
        yield from (_of_answer(run) for run in answer.get("runs", []) if _is_entry(run))
        if not (token := answer.get("next_page_token")):
            return
        asked["page_token"] = token


def _is_entry(run: dict[str, Any]) -> bool:
    return is_entry(tag["key"] for tag in run["data"].get("tags", []))


def _of_answer(run: dict[str, Any]) -> ListedEntry:
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    params = {param["key"]: param["value"] for param in run["data"].get("params", [])}
    entry = entry_of(run["info"]["run_id"], run["info"].get("start_time"), tags)
    return ListedEntry(entry, params.get("candidate_run_id", ""), has_report=False)
