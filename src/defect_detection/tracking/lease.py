"""The lease of a store: only one process at a time, on all machines, may change production.

MLflow has no compare-and-set, so the lease is Lamport's bakery, which needs none. Each who wants it takes a ticket, a tag of the
experiment `PROMOTIONS` that only its owner writes: first one without a number, then the number after the highest that is there.
The lowest ticket holds the lease, once nobody is choosing a number. A dead holder's ticket is removed by its own name: never by
mistake the ticket of who came next. See docs/decisions/0010-ledger-and-lease.md.
"""

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from defect_detection.errors import BusyError, TrackingError
from defect_detection.processes.identity import is_dead, owner, user
from defect_detection.tracking.store import Store, connect, redacted, reporting

PROMOTIONS = "promotions"  # the experiment of the ledger
FORMER = "defect-promotion-lease"  # a registered model, whose versions were the tickets of earlier versions of this package
LIFETIME_S = 600.0  # holding it takes seconds
MARGIN_S = 60.0  # clocks of two machines differ by less
WAIT_S = 30.0
_POLL_S = 0.2
TICKET = "lease."  # begins the name of a ticket's tag
_CHOOSING = 0


@dataclass(frozen=True)
class Ticket:
    """A place in the queue. `token` is its name; `number` is above that of every ticket that was there before.

    taken_from: who held the lease and lost it, in words.
    """

    store: Store
    token: str
    number: int
    taken: float  # time.monotonic()
    taken_from: tuple[str, ...] = ()

    def check(self) -> None:
        """Check that the lease is still held, before a step that only its holder may do.

        Raises:
            BusyError: it was held for too long, or another process has taken it over.
        """
        late = time.monotonic() - self.taken > LIFETIME_S - MARGIN_S
        if late or self.token not in _tickets(self.store):
            raise BusyError(
                f"{redacted(self.store.uri)}: the lease on production was lost after {time.monotonic() - self.taken:.0f} s; "
                "nothing was changed. Try again."
            )


@contextmanager
def lease(tracking_uri: str, wait_s: float = WAIT_S, *, take_over: bool = False) -> Iterator[Ticket]:
    """Hold the lease during the block.

    Args:
        wait_s: how long to wait for the holder.
        take_over: take it over from the holder after `wait_s`; that process notices this before it moves anything.

    Raises:
        BusyError: another process still holds it after `wait_s`; the text says who.
        TrackingError: the store can't be used.
    """
    store = connect(tracking_uri, PROMOTIONS)
    token = uuid.uuid4().hex
    try:
        ticket = _take(store, token, wait_s)
        taken_from = _wait(ticket, wait_s, take_over)
        _end_former(store)
        yield replace(ticket, taken_from=taken_from)
    finally:
        with suppress(TrackingError):  # left behind, it is removed by the next: see _is_over
            _remove(store, token)


def who() -> str:
    """Return who is at work, as the ledger shows it: ``DEFECT_USER``, else user@host."""
    return os.environ.get("DEFECT_USER") or f"{user()}@{socket.gethostname()}"


def _take(store: Store, token: str, wait_s: float) -> Ticket:
    taken = time.monotonic()
    expires = time.time() + wait_s + LIFETIME_S
    this = owner()
    mine = {"holder": who(), "machine": this.pop("place"), **this, "expires": f"{expires:.0f}"}
    _write(store, token, {"number": str(_CHOOSING)} | mine)
    number = 1 + max(int(other["number"]) for other in _tickets(store).values())
    _write(store, token, {"number": str(number)} | mine)
    return Ticket(store, token, number, taken)


def _write(store: Store, token: str, ticket: dict[str, str]) -> None:
    with reporting(store.uri, "taking the lease on what is in production"):
        store.client.set_experiment_tag(store.experiment_id, f"{TICKET}{token}", json.dumps(ticket))


def _wait(ticket: Ticket, wait_s: float, take_over: bool) -> tuple[str, ...]:
    """Wait for the turn; return from whom it was taken in the end."""
    end = time.monotonic() + wait_s
    taken_from = []
    while ahead := _ahead(ticket):
        token, holder = ahead
        if time.monotonic() < end:
            time.sleep(_POLL_S)
        elif take_over:
            taken_from.append(f"{holder['holder']} (process {holder['process']})")
            _remove(ticket.store, token)
        else:
            raise _busy(ticket.store, holder)
    return tuple(taken_from)


def _busy(store: Store, ahead: dict[str, str]) -> BusyError:
    return BusyError(
        f"{redacted(store.uri)}: {ahead['holder']} (process {ahead['process']}) is changing production; wait until it ends. "
        f"If it died on another machine, its lease expires within {(LIFETIME_S + MARGIN_S + WAIT_S) / 60:.0f} minutes."
    )


def _ahead(ticket: Ticket) -> tuple[str, dict[str, str]] | None:
    """Return the ticket that comes first, or may come first because it is still choosing; remove tickets of dead processes."""
    for token, other in _tickets(ticket.store).items():
        if token == ticket.token:
            continue
        if (int(other["number"]), token) < (ticket.number, ticket.token):
            if not _is_over(other):
                return token, other
            _remove(ticket.store, token)
    return None


def _tickets(store: Store) -> dict[str, dict[str, str]]:
    """Return the tickets that are left, by their tokens."""
    with reporting(store.uri, "reading the lease on what is in production"):
        tags = store.client.get_experiment(store.experiment_id).tags
    return {key.removeprefix(TICKET): _read(value) for key, value in tags.items() if key.startswith(TICKET)}


def _read(text: str) -> dict[str, str]:
    """Read a ticket; one that is damaged is over, so that the next process removes it."""
    try:
        ticket = {key: str(value) for key, value in json.loads(text).items()}
        (
            int(ticket["number"]),
            int(ticket["process"]),
            float(ticket["expires"]),
            ticket["holder"],
            ticket["machine"],
        )
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return {"number": str(_CHOOSING), "holder": "unknown", "machine": "", "process": "0", "expires": "0"}
    return ticket


def _end_former(store: Store) -> None:
    """Remove the registered model of earlier versions from the list of models.

    Raises:
        BusyError: a process of an earlier version holds the lease by it.
    """
    from mlflow.exceptions import MlflowException

    with reporting(store.uri, "removing the lease of an earlier version"):
        for former in store.client.search_model_versions(f"name = '{FORMER}'"):
            unknown = {"holder": "another user", "machine": "", "process": "unknown"}
            expires = former.creation_timestamp / 1000 + WAIT_S + LIFETIME_S
            ticket = unknown | {"expires": f"{expires:.0f}"} | dict(former.tags)
            if not _is_over(ticket):
                raise _busy(store, ticket)
        try:
            store.client.delete_registered_model(FORMER)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise


def _is_over(tags: dict[str, str]) -> bool:
    """Say whether a ticket's holder is dead (known for this machine's processes only) or has had it for too long."""
    expired = time.time() > float(tags["expires"]) + MARGIN_S
    return expired or is_dead({"place": tags["machine"], **tags})


def _remove(store: Store, token: str) -> None:
    from mlflow.exceptions import MlflowException

    with reporting(store.uri, "giving the lease back"):
        try:
            store.client.delete_experiment_tag(store.experiment_id, f"{TICKET}{token}")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
