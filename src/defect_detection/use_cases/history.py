"""List the changes of production, and check that ledger and production agree."""

from dataclasses import dataclass

from defect_detection.config import Config
from defect_detection.tracking.lease import PROMOTIONS
from defect_detection.tracking.ledger import Ledger, open_entries, productive, unreadable
from defect_detection.tracking.ledger_entry import LedgerEntry
from defect_detection.tracking.registry import Registry
from defect_detection.use_cases.turn import PRODUCTION_ALIAS, named, number_of


@dataclass(frozen=True)
class History:
    """The ledger, newest first; the version in production; and warnings."""

    entries: tuple[LedgerEntry, ...]
    in_production: int | None
    notes: tuple[str, ...]


def history(config: Config) -> History:
    """Read the ledger and production. Changes nothing.

    Raises:
        TrackingError: MLflow can't be reached.
    """
    entries = Ledger(config.tracking_uri, config.named(PROMOTIONS)).entries()
    registry = Registry(config.tracking_uri)
    current = number_of(registry.version_of(config.mlflow.production_model_name, PRODUCTION_ALIAS))
    return History(entries, current, attention(entries, current))


def attention(entries: tuple[LedgerEntry, ...], current: int | None) -> tuple[str, ...]:
    """Return warnings about the ledger, given the version in production."""
    found = tuple(_of_open(entry) for entry in open_entries(entries)) or _of_drift(entries, current)
    return found + unreadable(entries)


def _of_open(entry: LedgerEntry) -> str:
    return (
        f"Entry {entry.number} ({entry.kind} of {entry.candidate}, from {named(entry.before)} to {named(entry.after)}) is "
        "not completed: it is in progress or was interrupted. The next evaluate, promote or rollback closes it"
    )


def _of_drift(entries: tuple[LedgerEntry, ...], current: int | None) -> tuple[str, ...]:
    expected = next(reversed(productive(entries)), None)
    if expected == current:
        return ()
    return (
        f"Production is {named(current)}, but the ledger says {named(expected)}: something else moved the alias "
        f"{PRODUCTION_ALIAS}. To correct this: `defect promote VERSION --reason …` or `defect rollback --to VERSION`",
    )
