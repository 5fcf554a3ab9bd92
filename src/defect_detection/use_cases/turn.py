"""One change of production: takes the lease of the store and repairs interrupted changes first."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from defect_detection.config import Config
from defect_detection.errors import DefectDetectionError, TrackingError
from defect_detection.files.trail import leave
from defect_detection.tracking.lease import PROMOTIONS, Ticket, lease, who
from defect_detection.tracking.ledger import Ledger, open_entries, unreadable
from defect_detection.tracking.ledger_entry import DecisionKind, LedgerEntry, Plan, State
from defect_detection.tracking.reading import ModelRef
from defect_detection.tracking.registry import Registry
from defect_detection.tracking.runs import TrialRecord

PRODUCTION_ALIAS = "prod"


@dataclass(frozen=True)
class Turn:
    """The time in which this process alone may change production.

    number: of the ledger's entries that are made in it. entries: those before, newest first. before: what is in production at
    its start. urgent: what is only there for the record may fail. notes: what failed or was left out, in sentences without
    their full stop. ticket: None where the lease could not be taken. root: the folder with the audit trail.
    """

    ticket: Ticket | None
    number: int
    ledger: Ledger
    entries: tuple[LedgerEntry, ...]
    registry: Registry
    before: ModelRef | None
    urgent: bool
    notes: list[str]
    root: Path

    def move(self, to: ModelRef) -> None:
        """Move the alias, and read it back."""
        if self.ticket:
            self.ticket.check()
        self.registry.set_alias(to.name, PRODUCTION_ALIAS, to.version)
        leave(self.root, who(), "production moved", str(to), f"instead of {named(number_of(self.before))}")

    @contextmanager
    def entry(self, plan: Plan) -> Iterator[TrialRecord | None]:
        """Keep a ledger entry open during the block; None if it cannot be written and the turn is urgent."""
        unwritten = (
            f"The ledger has no entry for this change. Run `defect rollback --to {plan.after}` to add it when the store is "
            "writable"
        )
        with ExitStack() as stack:
            entry = None
            with sparing(self.urgent, self.notes, unwritten):
                entry = stack.enter_context(self.ledger.entry(plan))
            yield entry
            with sparing(self.urgent, self.notes, "The ledger's entry for this change was not completed"):
                stack.close()


@contextmanager
def take_turn(registry: Registry, config: Config, *, urgent: bool = False) -> Iterator[Turn]:
    """Wait for the lease and hold it during the block.

    Args:
        urgent: continue without lease and ledger if the store refuses them, and take over a lease that is held too long.

    Raises:
        BusyError: another process is changing production. TrackingError: the store can't be used.
    """
    notes: list[str] = []
    with ExitStack() as stack:
        ticket = None
        with sparing(urgent, notes, "The lease on production could not be taken"):
            ticket = stack.enter_context(lease(config.tracking_uri, take_over=urgent))
            notes += [
                f"The lease was taken over from {one}, who held it for too long" for one in ticket.taken_from
            ]
        yield _turn(registry, config, ticket, urgent, notes)


def _turn(registry: Registry, config: Config, ticket: Ticket | None, urgent: bool, notes: list[str]) -> Turn:
    """Begin a turn: close what an interrupted process left open."""
    before = registry.version_of(config.mlflow.production_model_name, PRODUCTION_ALIAS)
    ledger = Ledger(config.tracking_uri, config.named(PROMOTIONS))
    entries: tuple[LedgerEntry, ...] = ()
    with sparing(urgent, notes, "The ledger could not be read"):
        entries = ledger.entries()
    number = 1 + max((entry.number for entry in entries), default=0)
    turn = Turn(ticket, number, ledger, entries, registry, before, urgent, notes, config.plant)
    for entry in reversed(open_entries(entries)):
        with sparing(urgent, notes, f"Entry {entry.number} of the ledger was interrupted and stays open"):
            _repair(turn, entry)
    if open_entries(entries):
        with sparing(urgent, notes, "The ledger could not be read again"):
            turn = replace(turn, entries=ledger.entries())
    notes += unreadable(entries)
    return turn


@contextmanager
def sparing(urgent: bool, notes: list[str], otherwise: str) -> Iterator[None]:
    """Note that a part failed which an urgent turn can do without."""
    try:
        yield
    except TrackingError as error:
        if not urgent:
            raise
        notes.append(f"{otherwise} ({str(error).rstrip('.')})")


@contextmanager
def noting_refusal(config: Config, what: str) -> Iterator[None]:
    """Leave a line where a change of production is refused."""
    try:
        yield
    except DefectDetectionError as error:
        leave(config.plant, who(), what, config.mlflow.production_model_name, f"refused: {error}")
        raise


def stale(decided_about: ModelRef | None, now: ModelRef | None) -> str | None:
    """Return an error if production has changed since the decision, or None."""
    before, current = number_of(decided_about), number_of(now)
    if before == current:
        return None
    return (
        f"Another promotion came first: production is {named(current)} now, but this decision was about {named(before)}. "
        "Nothing was changed; evaluate, promote or roll back again"
    )


def number_of(reference: ModelRef | None) -> int | None:
    return reference.version if reference else None


def named(version: int | None) -> str:
    return "none" if version is None else f"version {version}"


def _repair(turn: Turn, entry: LedgerEntry) -> None:
    """Close the entry of an interrupted process according to the alias. The alias stays: the user decides again."""
    current = number_of(turn.before)
    happened = entry.after is not None and entry.after == current
    found = "had taken place" if happened else "had not taken place and was abandoned"
    why = f"Entry {entry.number} by {entry.who} was interrupted: the {entry.kind} {found}; production is {named(current)}"
    plan = Plan(turn.number, DecisionKind.REPAIR, "hold", current, None, entry.candidate, why)
    with turn.ledger.entry(plan):
        turn.ledger.close(entry, State.DONE if happened else State.ABANDONED)
