"""Prune at intervals in a background thread: one server per database at a time, without delaying predictions."""

import logging
import threading
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update

from defect_detection.config import Config
from defect_detection.errors import RecordsError
from defect_detection.records.clock import SKEW
from defect_detection.records.database import Database, insert_missing
from defect_detection.records.record_store import Records
from defect_detection.records.retention import prune_records
from defect_detection.records.tables import MaintenanceRow

PRUNING = "pruning"
FIRST_S = 300.0  # after the start: a server that just came up has other things to do
LOOK_S = 3600.0  # longest time between checks, because the clock may be set or the machine may sleep
RETRY_S = 900.0  # after a failure
RESTS = 3.0  # times as long as each batch took: at most a quarter of the time the database and the folder are in use
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)

log = logging.getLogger(__name__)


class Maintenance:
    """Prunes every `records.prune_every_h` hours between `start` and `stop`.

    A lower priority for its thread would be worse than the pauses: it would wait while it holds Python's lock,
    and the predictions with it.
    """

    def __init__(self, config: Config, records: Records) -> None:
        self._config = config
        self._records = records
        self.held_back = ""  # why the last pruning kept old inspections
        self._owes = False  # took it on and hasn't done it yet
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="maintenance", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop after the current batch; the next pruning deletes the rest."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        wait_s = FIRST_S
        while not self._stopping.wait(wait_s):
            wait_s = self._look()

    def _look(self) -> float:
        """Prune if due, and return the seconds until the next check. Never raises."""
        try:
            return self._prune_if_due()
        except _StoppedError:
            return 0.0
        except (RecordsError, OSError) as error:
            log.warning("pruning failed; next attempt in %.0f minutes. %s", RETRY_S / 60, error)
        except Exception:  # a bug in pruning must not end it for good
            log.exception("pruning failed; next attempt in %.0f minutes", RETRY_S / 60)
        return RETRY_S

    def _prune_if_due(self) -> float:
        every = timedelta(hours=self._config.records.prune_every_h)
        due_in_s = 0.0 if self._owes else take_on(self._records.database, PRUNING, every)
        if due_in_s == 0:
            self._owes = True
            pruned = prune_records(self._config, self._records, self._rest)
            self._owes = False
            self.held_back = pruned.held_back
            log.info("pruned: %s", pruned)
            if pruned.warning:
                log.warning("%s", pruned.warning)
            due_in_s = every.total_seconds()
        return min(due_in_s, LOOK_S)

    def _rest(self, worked_s: float) -> None:
        if self._stopping.wait(RESTS * worked_s):
            raise _StoppedError


class _StoppedError(Exception):
    """The server is being stopped."""


def take_on(database: Database, work: str, every: timedelta, now: datetime | None = None) -> float:
    """Claim the regular work for this server and return 0, or return the seconds until it is due.

    Work that was begun after `now` was begun by a clock that was ahead: it is due one interval after now.

    Raises:
        RecordsError: the database can't be written.
    """
    now = now or datetime.now(UTC)
    row = MaintenanceRow
    of_future = update(row).where(row.work == work, row.begun_at > now + SKEW).values(begun_at=now)
    due = update(row).where(row.work == work, row.begun_at <= now - every).values(begun_at=now)
    with database.writing() as session:
        insert_missing(session, row, [{"work": work, "begun_at": _NEVER}])
        if session.scalar(due.returning(row.work)):
            return 0.0
        if session.scalar(of_future.returning(row.work)):
            log.warning(
                "%s has a start time in the future: the clock was ahead then, or is behind now. It is due again in %s",
                work,
                every,
            )
        begun_at = session.scalar(select(row.begun_at).where(row.work == work)) or now
    return (begun_at + every - now).total_seconds()
