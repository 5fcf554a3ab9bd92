"""The ledger: every change of production, with time, author and reason. Each entry is an MLflow run of `promotions`.

An entry that moves production is opened before the alias moves and closed after the alias was read back. One that was left
open is therefore a promotion that was interrupted, or that is under way: `open_entries` names them. Entries are numbered
upwards under the lease, and never edited after they were closed.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from defect_detection.errors import TrackingError
from defect_detection.model.seal import CURE
from defect_detection.text import markdown
from defect_detection.tracking.lease import PROMOTIONS
from defect_detection.tracking.ledger_entry import (
    PREFIX,
    DecisionKind,
    LedgerEntry,
    Plan,
    State,
    entry_of,
    is_entry,
    tags_of,
)
from defect_detection.tracking.ledger_listing import list_entries
from defect_detection.tracking.runs import ExperimentRecorder, TrialRecord
from defect_detection.tracking.store import connect, reporting

_PAGE = 500


class Ledger:
    """The ledger of one product in a store. Every method may raise `TrackingError`.

    Args:
        experiment: that has its entries; `PROMOTIONS` when not given.
    """

    def __init__(self, tracking_uri: str, experiment: str | None = None) -> None:
        self.tracking_uri = tracking_uri
        self._experiment = experiment or PROMOTIONS

    @contextmanager
    def entry(self, plan: Plan, params: Mapping[str, Any] | None = None) -> Iterator[TrialRecord]:
        """Open an entry; close it when the block ends well. Figures and reports are logged in the block.

        After an error or a kill it stays open.
        """
        recorder = ExperimentRecorder(self.tracking_uri, self._experiment)
        name = f"{plan.candidate}: {plan.kind}"
        with recorder.trial(
            name, params or {}, tags_of(plan) | {"mlflow.note.content": markdown(plan.why)}
        ) as record:
            yield record
            record.tags({f"{PREFIX}state": State.DONE})

    def close(self, entry: LedgerEntry, state: State) -> None:
        """Close an entry that was left open."""
        with reporting(self.tracking_uri, f"closing entry {entry.number} of the ledger"):
            client = connect(self.tracking_uri).client
            client.set_tag(entry.run_id, f"{PREFIX}state", state)
            client.set_terminated(entry.run_id, "FINISHED" if state is State.DONE else "KILLED")

    def entries(self) -> tuple[LedgerEntry, ...]:
        """Return all entries, newest first. They are read without mlflow where that is possible."""
        with suppress(TrackingError):
            return tuple(one.entry for one in list_entries(self.tracking_uri, self._experiment))
        return self.entries_by_mlflow()  # which tries again, and reports the error in detail

    def entries_by_mlflow(self) -> tuple[LedgerEntry, ...]:
        """Return the same as `entries`, of any store that MLflow can use; it creates one that does not exist."""
        store = connect(self.tracking_uri, self._experiment)
        found: list[Any] = []
        token = None
        with reporting(self.tracking_uri, "reading the ledger"):
            while token or not found:
                page = store.client.search_runs([store.experiment_id], max_results=_PAGE, page_token=token)
                found += page
                token = page.token
                if not token:
                    break
        read = (
            entry_of(run.info.run_id, run.info.start_time, run.data.tags)
            for run in found
            if is_entry(run.data.tags)
        )
        return tuple(sorted(read, key=lambda entry: (entry.number, entry.when), reverse=True))


def open_entries(entries: tuple[LedgerEntry, ...]) -> tuple[LedgerEntry, ...]:
    """Return those that were interrupted, or are under way."""
    return tuple(entry for entry in entries if entry.state is State.INTENDED)


def productive(entries: tuple[LedgerEntry, ...]) -> list[int]:
    """Return the versions that production can go back through, the present one last.

    A promotion adds a version; a rollback removes the version it left, so the next rollback does not return to it.
    """
    versions: list[int] = []
    for entry in reversed(entries):
        if not entry.moved:
            continue
        if entry.before is not None and versions[-1:] != [entry.before]:
            versions.append(entry.before)  # was put there outside of this ledger
        if entry.kind is DecisionKind.ROLLBACK and entry.after in versions:
            del versions[versions.index(entry.after) + 1 :]
        else:
            versions = [*(one for one in versions if one != entry.after), entry.after]  # type: ignore[list-item]
    return versions


def ways_back(entries: tuple[LedgerEntry, ...], current: int) -> list[int]:
    """Return the versions that a rollback from `current` can go back to, by the ledger, the nearest first.

    Entries after `current` are ignored: another program has already gone back.
    """
    versions = productive(entries)
    earlier = versions[: versions.index(current)] if current in versions else versions
    return earlier[::-1]


def previous(entries: tuple[LedgerEntry, ...], current: int) -> int | None:
    """Return the version that a rollback from `current` returns to; None if the ledger has none."""
    return next(iter(ways_back(entries, current)), None)


def repeated(
    entries: tuple[LedgerEntry, ...], model: str, test_fingerprint: str, current: int | None
) -> LedgerEntry | None:
    """Return the newest evaluation that decided about the same model, test images and version in production, if there is one.

    One that promoted counts while production is what it promoted.
    """
    for entry in entries:
        same = (entry.model, entry.test_fingerprint) == (model, test_fingerprint)
        decided = entry.kind is DecisionKind.EVALUATION and entry.state is State.DONE
        if same and decided and current == (entry.before if entry.after is None else entry.after):
            return entry
    return None


def other_seal(entries: Iterable[LedgerEntry], version: int, sealed: str) -> str | None:
    """Return an error if a version was promoted with other files than the registry lists now, else None."""
    known = next((entry for entry in entries if entry.after == version and entry.moved), None)
    if known is None or known.sealed in ("", sealed):
        return None
    return (
        f"the registry's list of its files (sha256 {sealed[:16] or 'none'}) differs from entry {known.number} of the ledger "
        f"({known.sealed[:16]}), so the registry was changed. {CURE}"
    )


def decisions_before(entries: tuple[LedgerEntry, ...], entry: LedgerEntry) -> int:
    """Return how many evaluations the same test images had decided before the entry."""
    return sum(
        one.kind is DecisionKind.EVALUATION
        and one.number < entry.number
        and one.test_fingerprint == entry.test_fingerprint
        for one in entries
    )


def withdrawn(entries: tuple[LedgerEntry, ...]) -> dict[int, LedgerEntry]:
    """Return the versions that were rolled back from and have not been in production since, each with that rollback."""
    found: dict[int, LedgerEntry] = {}
    for entry in reversed(entries):
        if entry.moved and entry.kind is DecisionKind.ROLLBACK and entry.before is not None:
            found[entry.before] = entry
        if entry.moved:
            found.pop(entry.after or 0, None)
    return found


def unreadable(entries: Iterable[LedgerEntry]) -> tuple[str, ...]:
    """Name the entries that can't be read, each in one sentence without its full stop."""
    return tuple(
        f"Entry {entry.number or 'without a number'} of the ledger cannot be read and was skipped (run {entry.run_id}: "
        f"{entry.why})"
        for entry in entries
        if entry.kind is DecisionKind.UNREADABLE
    )
