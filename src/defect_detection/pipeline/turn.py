"""A turn at changing production: under the store's lease, with what was interrupted before repaired."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from defect_detection.config import Config
from defect_detection.tracking.lease import Ticket, lease
from defect_detection.tracking.ledger import Entry, Kind, Ledger, Plan, State, open_entries
from defect_detection.tracking.registry import ModelRef, Registry

PRODUCTION_ALIAS = "prod"


@dataclass(frozen=True)
class Turn:
    """The time in which this process alone may change production.

    number: of the ledger's entries that are made in it. before: what is in production at its start.
    """

    ticket: Ticket
    number: int
    ledger: Ledger
    registry: Registry
    before: ModelRef | None

    def move(self, to: ModelRef) -> None:
        """Move the alias, and read it back."""
        self.ticket.check()
        self.registry.set_alias(to.name, PRODUCTION_ALIAS, to.version)


@contextmanager
def take_turn(registry: Registry, config: Config) -> Iterator[Turn]:
    """Wait for the lease and hold it during the block.

    Raises:
        BusyError: another process is changing production. TrackingError: the store can't be used.
    """
    with lease(config.tracking_uri) as ticket:
        before = registry.version_of(config.mlflow.production_model_name, PRODUCTION_ALIAS)
        ledger = Ledger(config.tracking_uri)
        entries = ledger.entries()
        number = 1 + max((entry.number for entry in entries), default=0)
        turn = Turn(ticket, number, ledger, registry, before)
        for entry in reversed(open_entries(entries)):
            _repair(turn, entry)
        yield turn


def stale(decided_about: ModelRef | None, now: ModelRef | None) -> str | None:
    """Say that production has changed since something was decided about it, or return None."""
    before, current = number_of(decided_about), number_of(now)
    if before == current:
        return None
    return (
        f"Another promotion came first: production is {named(current)} now, this decision was about {named(before)}. "
        "It was left as it is; evaluate, promote or roll back again"
    )


def number_of(reference: ModelRef | None) -> int | None:
    return reference.version if reference else None


def named(version: int | None) -> str:
    return "none" if version is None else f"version {version}"


def _repair(turn: Turn, entry: Entry) -> None:
    """Close what an interrupted process left open, by where the alias is now. The alias stays: the user decides again."""
    current = number_of(turn.before)
    happened = entry.after is not None and entry.after == current
    found = "had taken place" if happened else "had not taken place and was given up"
    why = f"Entry {entry.number} by {entry.who} was interrupted: the {entry.kind} {found}; production is {named(current)}"
    plan = Plan(turn.number, Kind.REPAIR, "hold", current, None, entry.candidate, why)
    with turn.ledger.entry(plan):
        turn.ledger.close(entry, State.DONE if happened else State.ABANDONED)
