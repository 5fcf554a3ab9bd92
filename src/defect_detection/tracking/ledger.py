"""The ledger: what was put into production when, by whom and why. One MLflow run of the experiment `promotions` an entry.

An entry that moves production is opened before the alias moves and closed after the alias was read back. One that was left
open is therefore a promotion that was interrupted, or that is under way: `open_entries` names them. Entries are numbered
upwards under the lease, and never edited after they were closed.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from defect_detection.model.seal import CURE
from defect_detection.text import markdown
from defect_detection.tracking.lease import PROMOTIONS, who
from defect_detection.tracking.reading import moment
from defect_detection.tracking.runs import ExperimentRecorder, TrialRecord
from defect_detection.tracking.store import connect, reporting, sqlite_file

PREFIX = "ledger."
_PAGE = 500
_MOST_DIGITS = 9


class Kind(StrEnum):
    """How an entry came about."""

    EVALUATION = "evaluation"
    PROMOTION = "manual promotion"
    ROLLBACK = "rollback"
    REPAIR = "repair"
    UNREADABLE = (
        "unreadable"  # its run holds something else than an entry; only its number, run and time are known
    )


class State(StrEnum):
    """INTENDED: opened, the alias may have moved or not. DONE: it moved, or wasn't to. ABANDONED: it never moved."""

    INTENDED = "intended"
    DONE = "done"
    ABANDONED = "abandoned"


@dataclass(frozen=True)
class Entry:
    """One decision.

    Attributes:
        number: grows with every entry.
        kind, state: see `Kind` and `State`.
        outcome: "promote" moved production (or was to), "hold" left it.
        before, after: versions of the production model; `before` is None when nothing was in production, `after` when
            production wasn't to move.
        candidate: the version that was judged, in words.
        who, when, why: `when` with time zone (UTC).
        accuracy, escapes: of the candidate on the test split, with their fractions; "" when they aren't known.
        test_fingerprint: of the test split; "" when no evaluation is behind the entry.
        gated: whether the gate decided.
        run_id: the entry's MLflow run, with the figures and the report.
        model: what the candidate decides by, see `bundle.identity`; "" in entries of earlier versions.
        sealed: digest of the files of `after`, or of the candidate, see `model.seal`; "" where none is known.
    """

    number: int
    kind: Kind
    state: State
    outcome: str
    before: int | None
    after: int | None
    candidate: str
    who: str
    when: datetime
    why: str
    accuracy: str
    escapes: str
    test_fingerprint: str
    gated: bool
    run_id: str
    model: str = ""
    sealed: str = ""

    @property
    def moved(self) -> bool:
        """Whether production moved with this entry."""
        return self.state is State.DONE and self.after is not None


@dataclass(frozen=True)
class Plan:
    """What an entry says when it is opened."""

    number: int
    kind: Kind
    outcome: str
    before: int | None
    after: int | None
    candidate: str
    why: str
    accuracy: str = ""
    escapes: str = ""
    test_fingerprint: str = ""
    gated: bool = False
    model: str = ""
    sealed: str = ""


class Ledger:
    """The ledger of one store. Every method may raise `TrackingError`."""

    def __init__(self, tracking_uri: str) -> None:
        self.tracking_uri = tracking_uri

    @contextmanager
    def entry(self, plan: Plan, params: Mapping[str, Any] | None = None) -> Iterator[TrialRecord]:
        """Open an entry; close it when the block ends well. Figures and reports are logged in the block.

        After an error or a kill it stays open.
        """
        recorder = ExperimentRecorder(self.tracking_uri, PROMOTIONS)
        name = f"{plan.candidate}: {plan.kind}"
        with recorder.trial(
            name, params or {}, _tags_of(plan) | {"mlflow.note.content": markdown(plan.why)}
        ) as record:
            yield record
            record.tags({f"{PREFIX}state": State.DONE})

    def close(self, entry: Entry, state: State) -> None:
        """Close an entry that was left open."""
        with reporting(self.tracking_uri, f"closing entry {entry.number} of the ledger"):
            client = connect(self.tracking_uri).client
            client.set_tag(entry.run_id, f"{PREFIX}state", state)
            client.set_terminated(entry.run_id, "FINISHED" if state is State.DONE else "KILLED")

    def entries(self) -> tuple[Entry, ...]:
        """Return all entries, newest first."""
        database = sqlite_file(self.tracking_uri)
        if database and not database.exists():
            return ()
        store = connect(self.tracking_uri, PROMOTIONS)
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


def open_entries(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Return those that were interrupted, or are under way."""
    return tuple(entry for entry in entries if entry.state is State.INTENDED)


def productive(entries: tuple[Entry, ...]) -> list[int]:
    """Return the versions that production can go back through, the present one last.

    A promotion adds to them; a rollback takes away what it left, so the next rollback doesn't return to it.
    """
    versions: list[int] = []
    for entry in reversed(entries):
        if not entry.moved:
            continue
        if entry.before is not None and versions[-1:] != [entry.before]:
            versions.append(entry.before)  # was put there outside of this ledger
        if entry.kind is Kind.ROLLBACK and entry.after in versions:
            del versions[versions.index(entry.after) + 1 :]
        else:
            versions = [*(one for one in versions if one != entry.after), entry.after]  # type: ignore[list-item]
    return versions


def ways_back(entries: tuple[Entry, ...], current: int) -> list[int]:
    """Return the versions that a rollback from `current` can go back to, by the ledger, the nearest first.

    What the ledger has after `current` is no way back: something else than this package went back already.
    """
    versions = productive(entries)
    earlier = versions[: versions.index(current)] if current in versions else versions
    return earlier[::-1]


def previous(entries: tuple[Entry, ...], current: int) -> int | None:
    """Return the version that a rollback from `current` goes back to, or None when the ledger knows of none."""
    return next(iter(ways_back(entries, current)), None)


def repeated(
    entries: tuple[Entry, ...], model: str, test_fingerprint: str, current: int | None
) -> Entry | None:
    """Return the newest evaluation that decided about the same model, test images and version in production, if there is one.

    One that promoted counts while production is what it promoted.
    """
    for entry in entries:
        same = (entry.model, entry.test_fingerprint) == (model, test_fingerprint)
        decided = entry.kind is Kind.EVALUATION and entry.state is State.DONE
        if same and decided and current == (entry.before if entry.after is None else entry.after):
            return entry
    return None


def other_seal(entries: Iterable[Entry], version: int, sealed: str) -> str | None:
    """Say that a version went into production with other files than the registry names now; None where it did not."""
    known = next((entry for entry in entries if entry.after == version and entry.moved), None)
    if known is None or known.sealed in ("", sealed):
        return None
    return (
        f"the registry's list of its files (sha256 {sealed[:16] or 'none'}) differs from entry {known.number} of the ledger "
        f"({known.sealed[:16]}), so the registry was changed. {CURE}"
    )


def decisions_before(entries: tuple[Entry, ...], entry: Entry) -> int:
    """Return how many evaluations the same test images had decided before the entry."""
    return sum(
        one.kind is Kind.EVALUATION
        and one.number < entry.number
        and one.test_fingerprint == entry.test_fingerprint
        for one in entries
    )


def withdrawn(entries: tuple[Entry, ...]) -> dict[int, Entry]:
    """Return the versions that were rolled back from and have not been in production since, each with that rollback."""
    found: dict[int, Entry] = {}
    for entry in reversed(entries):
        if entry.moved and entry.kind is Kind.ROLLBACK and entry.before is not None:
            found[entry.before] = entry
        if entry.moved:
            found.pop(entry.after or 0, None)
    return found


def _tags_of(plan: Plan) -> dict[str, str]:
    tags = {
        "number": plan.number,
        "kind": plan.kind,
        "state": State.INTENDED,
        "outcome": plan.outcome,
        "from": plan.before or "",
        "to": plan.after or "",
        "candidate": plan.candidate,
        "who": who(),
        "why": plan.why,
        "accuracy": plan.accuracy,
        "escapes": plan.escapes,
        "test_fingerprint": plan.test_fingerprint,
        "gated": plan.gated,
        "model": plan.model,
        "sealed": plan.sealed,
    }
    return {f"{PREFIX}{key}": str(value) for key, value in tags.items()}


def is_entry(run_tags: Iterable[str]) -> bool:
    """Say whether a run of the experiment is an entry, by the names of its tags."""
    return any(name.startswith(PREFIX) for name in run_tags)


def entry_of(run_id: str, start_ms: int | None, run_tags: Mapping[str, str]) -> Entry:
    """Read an entry from its run; one that is damaged, or of a later version, is `Kind.UNREADABLE` and moves nothing."""
    tags = {key.removeprefix(PREFIX): value for key, value in run_tags.items() if key.startswith(PREFIX)}
    try:
        return _read(run_id, start_ms, tags)
    except (LookupError, ValueError, OverflowError, OSError) as error:
        return _unreadable(run_id, start_ms, tags, error)


def unreadable(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Name the entries that can't be read, each in one sentence without its full stop."""
    return tuple(
        f"Entry {entry.number or 'without a number'} of the ledger cannot be read and was skipped (run {entry.run_id}: "
        f"{entry.why})"
        for entry in entries
        if entry.kind is Kind.UNREADABLE
    )


def _read(run_id: str, start_ms: int | None, tags: Mapping[str, str]) -> Entry:
    if wrong := [key for key, value in tags.items() if not isinstance(value, str)]:
        raise ValueError(f"{PREFIX}{wrong[0]}: expected a text, received bytes")
    if not isinstance(start_ms, int):
        raise ValueError(f"the start of the run: expected milliseconds, received {start_ms!r:.40}")  # noqa: TRY004  as all that is damaged
    return Entry(
        number=_number("number", tags["number"]),
        kind=Kind(tags["kind"]),
        state=State(tags["state"]),
        outcome=tags["outcome"],
        before=_number("from", tags["from"]) if tags["from"] else None,
        after=_number("to", tags["to"]) if tags["to"] else None,
        candidate=tags["candidate"],
        who=tags["who"],
        when=moment(start_ms),
        why=tags["why"],
        accuracy=tags["accuracy"],
        escapes=tags["escapes"],
        test_fingerprint=tags["test_fingerprint"],
        gated=tags["gated"] == "True",
        model=tags.get("model", ""),
        sealed=tags.get("sealed", ""),
        run_id=run_id,
    )


def _unreadable(run_id: str, start_ms: int | None, tags: Mapping[str, str], error: Exception) -> Entry:
    why = f"the tag {PREFIX}{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
    number, when = 0, moment(0)
    with suppress(LookupError, ValueError):
        number = _number("number", tags["number"])
    with suppress(TypeError, ValueError, OverflowError, OSError):
        when = moment(start_ms or 0)
    return Entry(
        number=number,
        kind=Kind.UNREADABLE,
        state=State.ABANDONED,
        outcome="unreadable",
        before=None,
        after=None,
        candidate="",
        who="",
        when=when,
        why=why[:200],
        accuracy="",
        escapes="",
        test_fingerprint="",
        gated=False,
        run_id=run_id,
    )


def _number(tag: str, text: str) -> int:
    if not text.isdecimal() or len(text) > _MOST_DIGITS:
        raise ValueError(f"{PREFIX}{tag}: expected a whole number, received {text!r:.40}")
    return int(text)
