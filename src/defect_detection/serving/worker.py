"""Run queued jobs with Huey: inside the server, or in ``defect worker`` apart."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from huey import Huey
from huey.consumer import Consumer
from huey.storage import MemoryStorage

from defect_detection.config import Config
from defect_detection.errors import BusyError, RecordsError
from defect_detection.records.database import Database
from defect_detection.records.jobs import (
    State,
    claim_job,
    end_job,
    end_orphaned_requests,
    fail_orphans,
    find_job,
    has_waiting,
    log_file_of,
    put_back,
)
from defect_detection.records.store import Records
from defect_detection.serving.jobs import CANCELLED, Outcome, Retraining

LOOK_EVERY_S = 1.0  # for a queued job, at most; the first looks after one follow each other faster
RETRY_S = 2.0  # until the database can be written again
STOP_S = 30.0  # that a job gets to end when its server is stopped

log = logging.getLogger(__name__)


class Worker:
    """Runs queued jobs, one at a time, between `start` and `stop`."""

    def __init__(self, config: Config, records: Records, retraining: Retraining) -> None:
        self._root = config.root
        self._database = records.database
        self._retraining = retraining
        self._stopping = threading.Event()
        self._consumer: Consumer | None = None

    def start(self) -> None:
        """End and fail what a dead server or worker of this machine left behind, then begin to run jobs."""
        if ended := end_orphaned_requests(self._root):
            log.warning("%d processes of a retraining were ended: the server that waited for it died", ended)
        huey = Huey("jobs", results=False, storage_class=_JobTable, next_job=self._next_job)
        task = huey.task(name="retraining")(self._run)
        huey.storage.message_of = lambda job_id: huey.serialize_task(task.s(job_id))
        self._consumer = _Consumer(huey, periodic=False, max_delay=LOOK_EVERY_S, shutdown_timeout=STOP_S)
        self._consumer.start()

    def stop(self) -> None:
        """End the running job, which is failed with that reason, and take no further one."""
        self._stopping.set()
        self._retraining.stop()
        if self._consumer is not None:
            self._consumer.stop(graceful=True)

    def _next_job(self) -> str | None:
        """Claim the next job if one waits and no retraining runs, whoever started it."""
        try:
            self._clean_up()
            if not has_waiting(self._database) or self._retraining.is_running():
                return None
            return claim_job(self._database)
        except RecordsError:
            return None  # the recorder and the views tell of it

    def _clean_up(self) -> None:
        """Fail the jobs of the dead. Looked for each time: a worker may die beside a server that lives on."""
        for job_id in fail_orphans(self._database):
            log.warning("job %s has failed: the process that ran it died", job_id)

    def _run(self, job_id: str) -> None:
        file = log_file_of(self._root, job_id)
        try:
            file.parent.mkdir(exist_ok=True)
            outcome = self._retraining.run_job(job_id, file, lambda: _is_cancelled(self._database, job_id))
        except BusyError:  # a retraining without a job was faster
            self._insist(lambda: put_back(self._database, job_id))
        except Exception as error:  # whatever it is: a job must not seem to run for ever
            reason = f"it couldn't be run: {type(error).__name__}: {error}"
            log.exception("job %s couldn't be run", job_id)
            self._insist(lambda: end_job(self._database, job_id, "failed", reason=reason))
        else:
            self._insist(lambda: self._end(job_id, outcome))

    def _end(self, job_id: str, outcome: Outcome) -> None:
        state: State = "failed" if outcome.failure else "succeeded"
        reason = outcome.failure
        if outcome.failure == CANCELLED:
            state, reason = "cancelled", find_job(self._database, job_id).reason
        end_job(self._database, job_id, state, outcome.exit_code, outcome.decision, reason)

    def _insist(self, write: Callable[[], None]) -> None:
        """Write how a job ended, again and again while the database is lost; if it stays so, `fail_orphans` does later."""
        while True:
            try:
                return write()
            except RecordsError as error:
                log.warning("how a job ended can't be written yet: %s", error)
                if self._stopping.wait(RETRY_S):
                    return None


class _JobTable(MemoryStorage):
    """Huey's queue, read from the table of jobs. Nothing is put in here, so nothing is unpickled that others wrote."""

    message_of: Callable[[str], bytes]

    def __init__(self, name: str, next_job: Callable[[], str | None]) -> None:
        super().__init__(name)
        self._next_job = next_job

    def dequeue(self) -> bytes | None:
        job_id = self._next_job()
        return None if job_id is None else self.message_of(job_id)


class _Consumer(Consumer):
    """Leaves signals to the server."""

    def _set_signal_handlers(self) -> None:
        pass


def _is_cancelled(database: Database, job_id: str) -> bool:
    try:
        return find_job(database, job_id).cancel_requested
    except RecordsError:
        return False  # it goes on; a lost database is no reason to end it


def run_worker(config: Config, until: Callable[[], Any]) -> None:
    """Run jobs until a function returns.

    Raises:
        RecordsError: ``DATABASE_URL`` is no address of a database.
    """
    records = Records.of(config)
    worker = Worker(config, records, Retraining(config.root, config.serving.retrain_timeout_s))
    worker.start()
    try:
        until()
    finally:
        worker.stop()
        records.close()
