"""An entry of the ledger, and its form in an MLflow run: tags that begin with `PREFIX`."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from defect_detection.tracking.lease import who
from defect_detection.tracking.reading import moment

PREFIX = "ledger."
_MOST_DIGITS = 9


class DecisionKind(StrEnum):
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
class LedgerEntry:
    """One decision.

    Attributes:
        number: grows with every entry.
        kind, state: see `DecisionKind` and `State`.
        outcome: "promote" moved production (or was to), "hold" left it; "passed" left it until a person promotes the candidate.
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
    kind: DecisionKind
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
    """The content of a new entry."""

    number: int
    kind: DecisionKind
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


def tags_of(plan: Plan) -> dict[str, str]:
    """Return what the run of a new entry is marked with."""
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
    """Check whether a run of the experiment is a ledger entry, by the names of its tags."""
    return any(name.startswith(PREFIX) for name in run_tags)


def entry_of(run_id: str, start_ms: int | None, run_tags: Mapping[str, str]) -> LedgerEntry:
    """Read an entry from its run. A damaged entry, or one of a later version, gets `Kind.UNREADABLE` and is ignored."""
    tags = {key.removeprefix(PREFIX): value for key, value in run_tags.items() if key.startswith(PREFIX)}
    try:
        return _read(run_id, start_ms, tags)
    except (LookupError, ValueError, OverflowError, OSError) as error:
        return _unreadable(run_id, start_ms, tags, error)


def _read(run_id: str, start_ms: int | None, tags: Mapping[str, str]) -> LedgerEntry:
    if wrong := [key for key, value in tags.items() if not isinstance(value, str)]:
        raise ValueError(f"{PREFIX}{wrong[0]}: expected a text, received bytes")
    if not isinstance(start_ms, int):
        raise ValueError(f"the start of the run: expected milliseconds, received {start_ms!r:.40}")  # noqa: TRY004  as all that is damaged
    return LedgerEntry(
        number=_number("number", tags["number"]),
        kind=DecisionKind(tags["kind"]),
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


def _unreadable(run_id: str, start_ms: int | None, tags: Mapping[str, str], error: Exception) -> LedgerEntry:
    why = f"the tag {PREFIX}{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
    number, when = 0, moment(0)
    with suppress(LookupError, ValueError):
        number = _number("number", tags["number"])
    with suppress(TypeError, ValueError, OverflowError, OSError):
        when = moment(start_ms or 0)
    return LedgerEntry(
        number=number,
        kind=DecisionKind.UNREADABLE,
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
