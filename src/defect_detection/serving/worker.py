"""Run queued jobs one at a time in a thread, inside the server or in ``defect worker``."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from defect_detection.config import Config
from defect_detection.config.products import DEFAULT, product_names, require_plant
from defect_detection.errors import BusyError, DefectDetectionError, RecordsError
from defect_detection.files.permissions import make_private
from defect_detection.processes.messages import read_all, texts_of
from defect_detection.records.job_logs import copy_log, end_of_log, log_file_of
from defect_detection.records.jobs import (
    AS_SET,
    HEARTBEAT_S,
    HowToRetrain,
    Leases,
    State,
    beat,
    claim_job,
    count_jobs,
    create_job,
    end_job,
    fail_orphans,
    find_job,
    has_waiting,
    put_back,
    request_cancel,
)
from defect_detection.records.record_store import Records
from defect_detection.serving.job_process import (
    CANCELLED,
    LOST,
    MAX_OUTPUT_BYTES,
    Retraining,
    RetrainingPlace,
)
from defect_detection.serving.outcome import RetrainingOutcome
from defect_detection.use_cases.products import settings_of_product

LOOK_EVERY_S = 0.5  # for a queued job, and for jobs of the dead
RETRY_S = 2.0  # until the database can be written again
TAKEN_S = 60.0  # seconds after which an unclaimed job is cancelled, if its caller waits
NO_WORKER = f"the server: no worker took it within {TAKEN_S:g} s; start `defect worker`"
LEFT = "the server was stopped; the retraining continues in the worker: GET /jobs shows how it ends"
ARCHIVED = "its product was archived"
STOP_S = 30.0  # that a job gets to end when its server is stopped

log = logging.getLogger(__name__)


class Worker:
    """Runs queued jobs, one at a time, between `start` and `stop`."""

    def __init__(self, config: Config, records: Records, retraining: Retraining) -> None:
        require_plant(config)
        self._plant = config
        self._root = config.root
        self._database = records.database
        self._retraining = retraining
        self._leases = Leases()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._problem = ""  # of the database, which is looked at again and again

    def start(self, takes_jobs: bool = True) -> None:
        """Start to run jobs and to fail jobs of dead processes; without `takes_jobs`, only the latter."""
        self._thread = threading.Thread(target=self._loop, args=(takes_jobs,), name="jobs", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the running job, mark it as failed with that reason, and take no further jobs."""
        self._stopping.set()
        self._retraining.stop()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def run_now(
        self, by: str, product: str = DEFAULT, how: HowToRetrain = AS_SET
    ) -> tuple[str, RetrainingOutcome]:
        """Run a retraining of a product while the caller waits, as a job that all can see and cancel; return its id and how it ended.

        Raises:
            BusyError: a retraining runs or waits. RecordsError: the job can't be written down.
        """
        if self._retraining.is_running():
            raise BusyError.of("a retraining")
        job_id = create_job(self._database, by, product, runs_here=True, how=how).id
        try:
            outcome = self._retraining.run(
                job_id,
                self._log_file(job_id),
                self._watch(job_id, product),
                RetrainingPlace.of(self._settings_of(product), how),
            )
        except Exception as error:
            end_job(self._database, job_id, "failed", reason=_why_not_run(error))
            raise
        try:
            self._end(job_id, outcome)
        except RecordsError as error:  # its heartbeat has stopped, so the next check marks it as failed
            log.warning("the end of job %s cannot be recorded: %s", job_id, error)
        return job_id, outcome

    def run_apart(
        self, by: str, product: str = DEFAULT, how: HowToRetrain = AS_SET
    ) -> tuple[str, RetrainingOutcome]:
        """Queue a retraining of a product for ``defect worker``, and wait until it has ended; return its id and how it ended.

        Raises:
            BusyError: a retraining runs or waits. RecordsError: the database cannot be reached.
        """
        if count_jobs(self._database)["running"]:
            raise BusyError.of("a retraining")
        started, job = time.monotonic(), create_job(self._database, by, product, how=how)
        while not job.has_ended:
            if self._stopping.wait(LOOK_EVERY_S):
                return job.id, RetrainingOutcome(LEFT, time.monotonic() - started, "", "")
            with suppress(RecordsError):  # it is asked again
                if job.state == "queued" and time.monotonic() - started > TAKEN_S:
                    request_cancel(self._database, job.id, NO_WORKER)
                job = find_job(self._database, job.id)
        failure = None if job.state == "succeeded" else job.reason or job.state
        said = read_all(end_of_log(self._database, job.id, MAX_OUTPUT_BYTES))
        return job.id, RetrainingOutcome(
            failure, time.monotonic() - started, texts_of(said), "", job.exit_code, said
        )

    def _loop(self, takes_jobs: bool) -> None:
        while not self._stopping.wait(LOOK_EVERY_S):
            try:
                self._clean_up()
                job_id = self._next_job() if takes_jobs else None
                self._problem = ""
            except RecordsError as error:
                self._report(str(error))
                continue
            except Exception:  # whatever it is: other jobs must be run
                log.exception("checking for jobs failed")
                continue
            if job_id is not None:
                self._run(job_id)

    def _report(self, problem: str) -> None:
        if problem != self._problem:
            log.warning("no job can be run: %s", problem)
        self._problem = problem

    def _next_job(self) -> str | None:
        """Claim the next queued job, if no retraining is running."""
        if not has_waiting(self._database) or self._retraining.is_running():
            return None
        return claim_job(self._database)

    def _clean_up(self) -> None:
        """Mark jobs of dead processes as failed. This is checked each time, because a worker may die while the server lives."""
        for job_id in fail_orphans(self._database, self._leases):
            log.warning("job %s has failed: the process that ran it died", job_id)

    def _run(self, job_id: str) -> None:
        try:
            job = find_job(self._database, job_id)
            place = RetrainingPlace.of(self._settings_of(job.product), job.how)
            outcome = self._retraining.run_job(
                job_id, self._log_file(job_id), self._watch(job_id, job.product), place
            )
        except BusyError:  # a retraining without a job was faster
            self._insist(lambda: put_back(self._database, job_id))
        except Exception as error:  # whatever it is: a job must not seem to run for ever
            reason = _why_not_run(error)
            log.exception("job %s could not be run", job_id)
            self._insist(lambda: end_job(self._database, job_id, "failed", reason=reason))
        else:
            self._insist(lambda: self._end(job_id, outcome))

    def _log_file(self, job_id: str) -> Path:
        file = log_file_of(self._root, job_id)
        make_private(file.parent)
        return file

    def _settings_of(self, product: str) -> Config:
        """Return the settings with which a product is retrained.

        Raises:
            ConfigError: they are wrong, or it is archived.
        """
        return settings_of_product(self._plant, product)

    def _is_there(self, product: str) -> bool:
        return product == DEFAULT or product in product_names(self._root)

    def _watch(self, job_id: str, product: str) -> Callable[[], str | None]:
        """Return a function that sends heartbeats, and returns why the job must be ended, or None."""
        beaten_at = time.monotonic()

        def look() -> str | None:
            nonlocal beaten_at
            if not self._is_there(product):
                return ARCHIVED
            try:
                if time.monotonic() - beaten_at >= HEARTBEAT_S:
                    beaten_at = time.monotonic()
                    beat(self._database, job_id)
                copy_log(self._database, job_id, log_file_of(self._root, job_id))
                found = find_job(self._database, job_id)
            except RecordsError:
                return None  # the job continues; a lost database does not end it
            if found.cancel_requested:
                return CANCELLED
            return LOST if found.has_ended else None

        return look

    def _end(self, job_id: str, outcome: RetrainingOutcome) -> None:
        state: State = "failed" if outcome.failure else "succeeded"
        reason = outcome.failure
        if outcome.failure == CANCELLED:
            state, reason = "cancelled", find_job(self._database, job_id).reason
        file = log_file_of(self._root, job_id)
        copy_log(self._database, job_id, file)
        end_job(self._database, job_id, state, outcome.exit_code, outcome.decision, reason, outcome.images)
        with suppress(OSError):  # another program looks at it: pruning removes it
            file.unlink()

    def _insist(self, write: Callable[[], None]) -> None:
        """Write how a job ended, again and again while the database is lost; if it stays so, `fail_orphans` does later."""
        while True:
            try:
                return write()
            except RecordsError as error:
                log.warning("the end of a job cannot be recorded yet: %s", error)
                if self._stopping.wait(RETRY_S):
                    return None


def _why_not_run(error: Exception) -> str:
    known = isinstance(error, DefectDetectionError)
    return f"it could not be run: {error if known else f'{type(error).__name__}: {error}'}"


def run_worker(config: Config, until: Callable[[], Any]) -> None:
    """Run jobs until a function returns.

    Raises:
        RecordsError: ``DATABASE_URL`` is no address of a database.
    """
    records = Records.of(config)
    worker = Worker(config, records, Retraining.of(config))
    worker.start()
    try:
        until()
    finally:
        worker.stop()
        records.close()
