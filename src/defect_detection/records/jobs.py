"""Jobs: requests for retrainings, their results, and recovery after a crashed server.

The table is the queue: a job that waits is a row in the state queued, so that nothing has to be put in again after a crash.
"""

import time
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from defect_detection.config.products import DEFAULT
from defect_detection.config.retraining import StartFrom
from defect_detection.errors import BusyError, UnknownRecordError
from defect_detection.processes.ending import end_processes_of
from defect_detection.processes.identity import is_dead, owner
from defect_detection.records.database import Database, alone_with_jobs
from defect_detection.records.tables import FeedbackRow, JobRow

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
HEARTBEAT_S = 10.0  # between two signs of life of a running job
LEASE_S = 45.0  # without a sign of life, after which its process counts as dead: known within a minute
LOOK_COUNTS_S = 5.0  # of the time between two looks at the heartbeats, at most


@dataclass(frozen=True, slots=True)
class HowToRetrain:
    """The choices in a request for a retraining.

    promotes: a model that passes is promoted at once; otherwise it waits until a person promotes it. start_from: registry or scratch
    (`RetrainConfig`); None: what the product's re_train.yaml says.
    """

    promotes: bool = True
    start_from: StartFrom | None = None


AS_SET = HowToRetrain()


@dataclass(frozen=True, slots=True)
class Job:
    """One training. outcome: promote, passed, hold or insufficient evidence, once it succeeded; reason: why it did not.

    promotes, start_from: as in `HowToRetrain`. images: that it read; None where that is not known.
    """

    id: str
    state: State
    by: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    outcome: str | None
    reason: str | None
    cancel_requested: bool
    product: str = DEFAULT
    promotes: bool = True
    images: int | None = None
    start_from: StartFrom | None = None

    @property
    def how(self) -> HowToRetrain:
        return HowToRetrain(self.promotes, self.start_from)

    @property
    def has_ended(self) -> bool:
        return self.state not in ("queued", "running")


def create_job(
    database: Database,
    by: str,
    product: str = DEFAULT,
    *,
    runs_here: bool = False,
    how: HowToRetrain = AS_SET,
) -> Job:
    """Queue a retraining of a product. At most one of each waits, and the one that waited longest runs next: that is fair.

    Args:
        runs_here: it does not wait for a worker: this process runs it now.

    Raises:
        BusyError: another one of the product waits already; or one runs or waits, and this one is to run
            now.
        RecordsError: the database can't be written.
    """
    with database.writing() as session:
        alone_with_jobs(session)
        if runs_here and (running := _of_state(session, "running")):
            raise BusyError.of(f"a retraining (/jobs/{running})")
        if waiting := _of_state(session, "queued", None if runs_here else product):
            raise BusyError.of(f"a retraining (/jobs/{waiting})", state="queued")
        last_label = session.scalar(select(func.max(FeedbackRow.id))) or 0
        facts = {"state": "queued", "by": by, "created_at": datetime.now(UTC), "last_label": last_label}
        facts |= {"product": product, "promotes": how.promotes, "start_from": how.start_from}
        row = JobRow(id=uuid.uuid4().hex, **facts)
        if runs_here:
            _own(row)
        session.add(row)
        session.flush()
        return _job(row)


def create_job_if_due(database: Database, labels: int, by: str, product: str = DEFAULT) -> Job | None:
    """Queue a retraining when so many images were labelled since the last one was asked for, and none is under way.

    All of that is about one product.
    """
    ours = JobRow.product == product
    with database.reading() as session:
        last = (
            session.scalar(select(func.max(JobRow.last_label)).where(ours)) or 0
        )  # by id: a clock may be set back
        under_way = select(JobRow.id).where(ours, JobRow.state.in_(("queued", "running")))
        active = session.scalar(under_way.limit(1))
        new = select(func.count(FeedbackRow.sha256.distinct())).where(
            FeedbackRow.id > last, FeedbackRow.product == product
        )
        count = session.scalar(new) or 0
    if active or count < labels:
        return None
    with suppress(BusyError):  # another server was faster
        return create_job(database, by, product)
    return None


def find_job(database: Database, job_id: str) -> Job:
    """Return one job.

    Raises:
        UnknownRecordError: there is none of that id.
    """
    with database.reading() as session:
        return _job(_existing(session, job_id))


def list_jobs(database: Database, limit: int, product: str | None = None) -> list[Job]:
    """Return the latest jobs, of one product or of all, the newest first."""
    query = select(JobRow).order_by(JobRow.created_at.desc(), JobRow.id).limit(limit)
    query = query if product is None else query.where(JobRow.product == product)
    with database.reading() as session:
        return [_job(row) for row in session.scalars(query)]


def count_jobs(database: Database) -> dict[State, int]:
    """Return how many jobs are kept in each state."""
    query = select(JobRow.state, func.count()).group_by(JobRow.state)
    with database.reading() as session:
        counted = {row[0]: row[1] for row in session.execute(query)}
    return {state: counted.get(state, 0) for state in get_args(State)}


def has_waiting(database: Database) -> bool:
    """Check whether a job is queued."""
    with database.reading() as session:
        return _of_state(session, "queued") is not None


def _of_state(session: Session, state: State, product: str | None = None) -> str | None:
    query = select(JobRow.id).where(JobRow.state == state)
    query = query if product is None else query.where(JobRow.product == product)
    return session.scalar(query.limit(1))


def claim_job(database: Database) -> str | None:
    """Make the job that has waited longest this process's own, and return its id; None: none waits, or one runs somewhere."""
    waiting = select(JobRow).where(JobRow.state == "queued").order_by(JobRow.created_at, JobRow.id).limit(1)
    with database.writing() as session:
        alone_with_jobs(session)
        row = session.scalar(waiting.with_for_update(skip_locked=True))
        if row is None or _of_state(session, "running"):
            return None
        _own(row)
        return row.id


def _own(row: JobRow) -> None:
    row.state, row.started_at, row.heartbeat = "running", datetime.now(UTC), 0
    this = owner()
    row.owner_host, row.owner_pid, row.owner_started = this["place"], int(this["process"]), this["started"]


def beat(database: Database, job_id: str) -> None:
    """Record a heartbeat of a running job."""
    _change(
        database, (JobRow.id == job_id) & (JobRow.state == "running"), {"heartbeat": JobRow.heartbeat + 1}
    )


def put_back(database: Database, job_id: str) -> None:
    """Queue a claimed job again, because it cannot start yet."""
    values = {"state": "queued", "started_at": None}
    _change(database, (JobRow.id == job_id) & (JobRow.state == "running"), values)


def end_job(
    database: Database,
    job_id: str,
    state: State,
    exit_code: int | None = None,
    outcome: str | None = None,
    reason: str | None = None,
    images: int | None = None,
) -> None:
    """Record the result of a job. A job that has already ended does not change."""
    values: dict[str, Any] = {"state": state, "exit_code": exit_code, "outcome": outcome, "reason": reason}
    values["images"] = images
    values["ended_at"] = datetime.now(UTC)
    _change(database, (JobRow.id == job_id) & JobRow.state.in_(("queued", "running")), values)


def request_cancel(database: Database, job_id: str, by: str) -> Job:
    """Cancel a job: immediately if it is queued; otherwise its process ends it. A job that has ended does not change.

    Raises:
        UnknownRecordError: there is none of that id.
    """
    with database.writing() as session:
        row = _existing(session, job_id, for_update=True)
        if row.state == "queued":
            row.state, row.ended_at, row.reason = "cancelled", datetime.now(UTC), f"cancelled by {by}"
        elif row.state == "running":
            row.cancel_requested, row.reason = True, f"cancelled by {by}"
        return _job(row)


class Leases:
    """Watches the heartbeats of jobs from one process. No clocks are compared: only how long one stood still here counts."""

    def __init__(self) -> None:
        self._seen: dict[
            str, tuple[int, float]
        ] = {}  # by job: its heartbeat, and for how many seconds it stood still
        self._looked_at = time.monotonic()

    def silent(self, beats: Mapping[str, int], now_s: float | None = None) -> set[str]:
        """Return the jobs whose heartbeat has stood still for `LEASE_S`.

        One look counts at most `LOOK_COUNTS_S`: a machine that was asleep must not take others for dead when it wakes.
        """
        now_s = time.monotonic() if now_s is None else now_s
        passed_s = min(max(0.0, now_s - self._looked_at), LOOK_COUNTS_S)
        self._looked_at = now_s
        known = self._seen
        self._seen = {
            job: (beat, known[job][1] + passed_s if job in known and known[job][0] == beat else 0.0)
            for job, beat in beats.items()
        }
        return {job for job, (_, still_s) in self._seen.items() if still_s >= LEASE_S}


def fail_orphans(database: Database, leases: Leases | None = None) -> list[str]:
    """Mark jobs as failed whose server or worker died, end what is left of them here, and return their ids.

    An owner on this machine (and in this container) is checked by its process id, which needs no waiting. Any
    other owner is dead when its heartbeat stands still.

    Args:
        leases: what was seen of heartbeats before; None: nothing.
    """
    with database.reading() as session:
        rows = list(session.scalars(select(JobRow).where(JobRow.state == "running")))
    silent = (leases or Leases()).silent({row.id: row.heartbeat for row in rows})
    orphans = {row.id: reason for row in rows if (reason := _why_dead(row, silent))}
    for job_id, reason in orphans.items():
        end_job(database, job_id, "failed", reason=f"{reason}; {_end_rest_of(job_id)}")
    return list(orphans)


def _end_rest_of(job_id: str) -> str:
    """End the remaining processes of a job, and describe what was found."""
    found, left = end_processes_of(job_id)
    if left:
        ids = ", ".join(map(str, left))
        return f"processes of its retraining could not be ended: end them by hand (process ids {ids})"
    return (
        "its retraining was still running and was ended"
        if found
        else "its retraining had no running processes"
    )


def _why_dead(row: JobRow, silent: Collection[str]) -> str | None:
    owned_by = {
        "place": row.owner_host or "",
        "process": str(row.owner_pid),
        "started": row.owner_started or "",
    }
    if is_dead(owned_by):
        return "the process that ran it died (killed or crashed)"
    if row.id in silent:
        return (
            f"no heartbeat from the process that ran it for {LEASE_S:g} s (its machine or container is gone)"
        )
    return None


def _change(database: Database, which: ColumnElement[bool], values: dict[str, Any]) -> None:
    with database.writing() as session:
        session.execute(update(JobRow).where(which).values(**values))


def _existing(session: Session, job_id: str, for_update: bool = False) -> JobRow:
    row = session.get(JobRow, job_id, with_for_update=for_update)
    if row is None:
        raise UnknownRecordError(f"no job has the id {job_id!r}; GET /jobs lists the jobs")
    return row


def _job(row: JobRow) -> Job:
    return Job(**{name: getattr(row, name) for name in Job.__dataclass_fields__})
