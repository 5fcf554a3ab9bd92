"""Change what is in production without a gate: put a version there by hand, or go back to an earlier one.

The order of the steps is that of `promotion`; what goes into production is checked as it lies in the store, and once more as it
inspects.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from defect_detection.config import Config
from defect_detection.errors import (
    BundleError,
    NoModelError,
    NotPassedError,
    StaleDecisionError,
    TrackingError,
    WithdrawnError,
)
from defect_detection.evaluation.policy import Outcome
from defect_detection.model.seal import digest
from defect_detection.tracking.best_model import BestModelInfo
from defect_detection.tracking.lease import PROMOTIONS
from defect_detection.tracking.ledger import Ledger, other_seal, previous, productive, ways_back, withdrawn
from defect_detection.tracking.ledger_entry import DecisionKind
from defect_detection.tracking.reading import ModelRef, versions_of
from defect_detection.tracking.registry import Registry
from defect_detection.use_cases.entries import link_model, plan_by_hand
from defect_detection.use_cases.no_model import no_model
from defect_detection.use_cases.turn import (
    PRODUCTION_ALIAS,
    Turn,
    named,
    noting_refusal,
    number_of,
    sparing,
    stale,
    take_turn,
)
from defect_detection.use_cases.vetting import check, vet

NO_GATE = (
    "Promoted without the gate: there is no evidence that this version is better than the one it replaces"
)


@dataclass(frozen=True)
class ProductionMoved:
    """The versions before and after a change of production, and remarks, in sentences without a full stop."""

    before: ModelRef | None
    after: ModelRef
    notes: tuple[str, ...] = ()


def promote(
    config: Config, version: int, reason: str, name: str | None = None, *, gated: bool = False
) -> ProductionMoved:
    """Promote a version by hand, without the gate, after checking its files.

    Args:
        gated: only if the gate passed it, in comparison with the version in production now.
        name: of the registered model that the version belongs to; ``mlflow.production_model_name`` when not given. A version of
            another one, such as a candidate below `evaluation_threshold`, is copied to the production model first.

    Raises:
        NoModelError: there is no such version. BundleError: its files are damaged, or it gives other verdicts than trained.
        StaleDecisionError, BusyError: another process has changed, or is changing, production.
        NotPassedError: the gate did not pass it, and `gated`. WithdrawnError: production was rolled back from it, and `gated`.
    """
    with noting_refusal(config, "promotion"):
        why = reason if gated else f"{reason} ({NO_GATE.lower()})"
        return _change(config, DecisionKind.PROMOTION, lambda turn: version, why, name, gated)


def waiting(config: Config, registry: Registry) -> ModelRef | None:
    """Return the version of the model that was trained last, if the gate passed it and production has not changed since."""
    name = config.mlflow.production_model_name
    entries = Ledger(config.tracking_uri, config.named(PROMOTIONS)).entries()
    latest = next((one for one in entries if one.moved or one.kind is DecisionKind.EVALUATION), None)
    if latest is None or latest.outcome != Outcome.PASSED or not config.best_model_info.exists():
        return None
    if latest.before != number_of(registry.version_of(name, PRODUCTION_ALIAS)):
        return None
    found = registry.version_of_run(name, BestModelInfo.read(config.best_model_info, config.option).run_id)
    return found if found and digest(found.seal) == latest.sealed else None


def rollback(config: Config, to: int | None = None, reason: str | None = None) -> ProductionMoved:
    """Put an earlier version into production again, after checking its files.

    This is the way out of trouble, so it does without all that is only there for the record: where the store refuses the lease or
    the ledger, as on a full disk, the alias moves all the same, and `ProductionMoved.notes` says what is missing.

    Args:
        to: the version; the one that was in production before the present one when not given. Versions that were
            rolled back from are left out. The present one only gets its entry, where the ledger has none.
        reason: for the ledger.

    Raises:
        NoModelError: nothing to go back to, or no such version. Otherwise as `promote`.
    """
    chosen = (lambda turn: to) if to is not None else partial(_previous, config)
    with noting_refusal(config, "rollback"):
        return _change(config, DecisionKind.ROLLBACK, chosen, reason or "Rolled back without a reason")


def _change(
    config: Config,
    kind: DecisionKind,
    choose: Callable[[Turn], int],
    why: str,
    source: str | None = None,
    gated: bool = False,
) -> ProductionMoved:
    registry = Registry(config.tracking_uri)
    name = config.mlflow.production_model_name
    seen = registry.version_of(name, PRODUCTION_ALIAS)
    with take_turn(registry, config, urgent=kind is DecisionKind.ROLLBACK) as turn:
        if too_late := stale(seen, turn.before):
            raise StaleDecisionError(too_late)
        chosen = _existing(registry, source or name, choose(turn))
        if gated:
            why = f"{why} ({_passed(turn, chosen)})"
        with _telling_the_next(turn, chosen):
            _require_as_entered(turn, chosen, name)
            note = vet(chosen, registry, config)
        turn.notes.extend([note] if note else [])
        target = chosen if chosen.name == name else registry.promote_copy(chosen, name)
        with turn.entry(plan_by_hand(kind, target, _as_recorded(turn, target), why, gated)) as entry:
            if entry:
                with sparing(turn.urgent, turn.notes, "The entry in the ledger does not link the model"):
                    link_model(entry, target)
            turn.move(target)
            _confirm(target, turn, config)
    return ProductionMoved(turn.before, target, tuple(turn.notes))


def _passed(turn: Turn, chosen: ModelRef) -> str:
    """Return a remark with the ledger entry in which the gate passed a version.

    Raises:
        NotPassedError: it did not. StaleDecisionError: it compared with another version than the one in production now.
        WithdrawnError: production was rolled back from this one.
    """
    sealed = digest(chosen.seal)
    about = [
        one for one in turn.entries if one.kind is DecisionKind.EVALUATION and sealed and one.sealed == sealed
    ]
    latest = next(iter(about), None)
    if latest is None or latest.outcome != Outcome.PASSED:
        said = f"said '{latest.outcome}' in entry {latest.number}" if latest else "has not judged it"
        raise NotPassedError(
            f"{chosen} was not promoted: expected a version that the gate passed, but the gate {said}. Train again, or promote "
            "it without the gate"
        )
    if latest.before != number_of(turn.before):
        raise StaleDecisionError(
            f"{chosen} was not promoted: the gate compared it with {named(latest.before)}, and production is "
            f"{named(number_of(turn.before))} now. Train again"
        )
    if entry := withdrawn(turn.entries).get(chosen.version):
        raise WithdrawnError(
            f"{chosen} was not promoted: {entry.who} rolled production back from it ({entry.why})"
        )
    return f"the gate passed it: entry {latest.number}"


def _previous(config: Config, turn: Turn) -> int:
    if turn.before is None:
        raise no_model(config, wanted=f"{config.mlflow.production_model_name}@{PRODUCTION_ALIAS}")
    earlier = previous(turn.entries, turn.before.version)
    if earlier is None:
        unknown = "".join(f". {note}" for note in turn.notes)
        raise NoModelError(
            f"According to the ledger, nothing was in production before {turn.before}{unknown}. Name a version: `defect "
            f"rollback --to VERSION`{_others(turn.registry, turn.before)}"
        )
    return earlier


def _others(registry: Registry, current: ModelRef) -> str:
    """Name the other versions, for the message."""
    listed = versions_of(registry.tracking_uri, current.name)
    numbers = [str(one.reference.version) for one in listed if one.reference.version != current.version]
    return f" (there are {', '.join(numbers)})" if numbers else ""


@contextmanager
def _telling_the_next(turn: Turn, chosen: ModelRef) -> Iterator[None]:
    """Name the next earlier version if a version cannot be served."""
    try:
        yield
    except (BundleError, TrackingError) as error:
        ways = [] if turn.before is None else ways_back(turn.entries, turn.before.version)
        left = [version for version in ways if version != chosen.version]
        if not turn.urgent or not left:
            raise
        raise type(error)(
            f"{error} Production is still {turn.before}. The next earlier version: `defect rollback --to {left[0]}`"
        ) from error


def _as_recorded(turn: Turn, target: ModelRef) -> Turn:
    """Return the turn for the ledger. If the version in production has no entry, use the last one in the ledger as its predecessor.

    Raises:
        NoModelError: the version is in production, and the ledger knows it.
    """
    if turn.before is None or turn.before.version != target.version:
        return turn
    known = next(reversed(productive(turn.entries)), None)
    if known in (None, target.version):
        raise NoModelError(f"{target} is already in production; `defect history` shows since when")
    return replace(turn, before=replace(turn.before, version=known))


def _existing(registry: Registry, name: str, version: int) -> ModelRef:
    found = registry.version(name, version)
    if found is None:
        raise NoModelError(
            f"{name} has no version {version}; production is unchanged. `defect history` lists the versions"
        )
    return found


def _require_as_entered(turn: Turn, chosen: ModelRef, production: str) -> None:
    other = (
        other_seal(turn.entries, chosen.version, digest(chosen.seal)) if chosen.name == production else None
    )
    if other:
        raise BundleError(f"{chosen}: {other}")


def _confirm(target: ModelRef, turn: Turn, config: Config) -> None:
    """Load the model that the alias points to, as inspection does; move the alias back if that fails."""
    try:
        _load_production(target, turn, config)
    except (BundleError, TrackingError):
        if turn.before:
            turn.move(turn.before)
        raise


def _load_production(target: ModelRef, turn: Turn, config: Config) -> None:
    found = turn.registry.version_of(target.name, PRODUCTION_ALIAS)
    if found is None or found.version != target.version:
        raise TrackingError(f"{target.name}@{PRODUCTION_ALIAS} is {found or 'nothing'}, expected {target}")
    check(turn.registry.bundle_of(found, config.cache_dir), config)
