"""A lease of a store: of all processes and machines that share it, one at a time moves what is in production.

MLflow has no compare-and-set, but it numbers the versions of a registered model, and never gives a number twice, not even
after the version was deleted. So each who wants the lease takes a ticket, a version of `LEASE`, and the lowest ticket that is
left holds it. A dead holder's ticket is removed by its number: never by mistake the ticket of who came next.
See docs/decisions/0010-ledger-and-lease.md.
"""

import getpass
import os
import platform
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from defect_detection.errors import BusyError, TrackingError
from defect_detection.tracking.store import Store, connect, redacted, reporting

LEASE = "defect-promotion-lease"
LIFETIME_S = 600.0  # holding it takes seconds
MARGIN_S = 60.0  # clocks of two machines differ by less
WAIT_S = 30.0
_POLL_S = 0.2
_DESCRIPTION = "No model: whoever moves production holds a version of this for a moment. Leave it alone."
_SOURCE = "none:///lease"  # MLflow asks for one; a server wants an absolute path in it


@dataclass(frozen=True)
class Ticket:
    """A place in the queue. `number` grows with every ticket of the store."""

    store: Store
    number: int
    taken: float  # time.monotonic()

    def check(self) -> None:
        """Make sure that the lease is still held, before what only its holder may do.

        Raises:
            BusyError: it was held for too long, or another process has taken it over.
        """
        late = time.monotonic() - self.taken > LIFETIME_S - MARGIN_S
        if late or self.number not in {number for number, _ in _tickets(self.store)}:
            raise BusyError(
                f"{redacted(self.store.uri)}: the lease on what is in production was lost after "
                f"{time.monotonic() - self.taken:.0f} s; nothing was moved. Try again."
            )


@contextmanager
def lease(tracking_uri: str, wait_s: float = WAIT_S) -> Iterator[Ticket]:
    """Hold the lease during the block.

    Args:
        wait_s: how long to wait for who holds it.

    Raises:
        BusyError: another process still holds it after `wait_s`; the text says who.
        TrackingError: the store can't be used.
    """
    store = connect(tracking_uri)
    ticket = _take(store, wait_s)
    try:
        _wait(ticket, wait_s)
        yield ticket
    finally:
        with suppress(TrackingError):  # left behind, it is removed by the next: see _is_over
            _remove(store, ticket.number)


def who() -> str:
    """Return who is at work, as the ledger shows it: ``DEFECT_USER``, else user@host."""
    return os.environ.get("DEFECT_USER") or f"{_user()}@{socket.gethostname()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user id without a name
        return "unknown"


def _take(store: Store, wait_s: float) -> Ticket:
    from mlflow.exceptions import MlflowException

    taken = time.monotonic()
    expires = time.time() + wait_s + LIFETIME_S
    tags = {"holder": who(), "machine": _machine(), "process": str(os.getpid()), "expires": f"{expires:.0f}"}
    with reporting(store.uri, "taking the lease on what is in production"):
        try:
            store.client.create_registered_model(LEASE, description=_DESCRIPTION)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        made = store.client.create_model_version(LEASE, _SOURCE, tags=tags)
    return Ticket(store, int(made.version), taken)


def _wait(ticket: Ticket, wait_s: float) -> None:
    end = time.monotonic() + wait_s
    while ahead := _ahead(ticket):
        if time.monotonic() >= end:
            raise BusyError(
                f"{redacted(ticket.store.uri)}: {ahead['holder']} (process {ahead['process']}) is changing what is in production; "
                f"wait for it to end. Should it have died on another machine, its lease ends by itself within "
                f"{(LIFETIME_S + MARGIN_S + WAIT_S) / 60:.0f} minutes."
            )
        time.sleep(_POLL_S)


def _ahead(ticket: Ticket) -> dict[str, str] | None:
    """Return who holds a lower ticket; tickets of the dead are removed."""
    for number, tags in _tickets(ticket.store):
        if number < ticket.number:
            if not _is_over(tags):
                return tags
            _remove(ticket.store, number)
    return None


def _tickets(store: Store) -> list[tuple[int, dict[str, str]]]:
    """Return the tickets that are left, the lowest first."""
    with reporting(store.uri, "reading the lease on what is in production"):
        found = store.client.search_model_versions(f"name = '{LEASE}'")
    return sorted(((int(one.version), _tags_of(one)) for one in found), key=lambda one: one[0])


def _tags_of(ticket: Any) -> dict[str, str]:
    """Return a ticket's tags. MLflow reads them after the versions, and can miss those of a version that is just being made."""
    expires = ticket.creation_timestamp / 1000 + WAIT_S + LIFETIME_S
    unknown = {"holder": "another user", "machine": "", "process": "unknown", "expires": f"{expires:.0f}"}
    return unknown | dict(ticket.tags)


def _is_over(tags: dict[str, str]) -> bool:
    """Say whether a ticket's holder is dead (known for this machine's processes only) or has had it for too long."""
    expired = time.time() > float(tags["expires"]) + MARGIN_S
    return expired or (tags["machine"] == _machine() and not _is_alive(int(tags["process"])))


def _is_alive(process: int) -> bool:
    """Say whether a process of this machine exists; where that can't be asked, it is taken to."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _machine() -> str:
    """Name what process ids are unique on: on Linux, the namespace of one boot, so that containers differ."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{platform.node()} {uuid.getnode():x}"


def _remove(store: Store, number: int) -> None:
    from mlflow.exceptions import MlflowException

    with reporting(store.uri, "giving the lease back"):
        try:
            store.client.delete_model_version(LEASE, str(number))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
