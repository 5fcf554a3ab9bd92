"""Views of jobs: queue a retraining, follow it, cancel it."""

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Literal

from flask import Request, Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from flask_openapi3.openapi import OpenAPI
from pydantic import BaseModel, Field
from werkzeug.exceptions import ServiceUnavailable

from defect_detection.config import Config
from defect_detection.config.retraining import StartFrom
from defect_detection.errors import ConfigError, RecordsError
from defect_detection.records.database import Database
from defect_detection.records.job_logs import log_file_of, read_log
from defect_detection.records.jobs import (
    HowToRetrain,
    Job,
    count_jobs,
    create_job,
    create_job_if_due,
    find_job,
    list_jobs,
    request_cancel,
)
from defect_detection.records.keys import NEW_LABELS
from defect_detection.serving.access import Caller
from defect_detection.serving.addresses import absolute
from defect_detection.serving.answer import as_json
from defect_detection.serving.callers import caller
from defect_detection.serving.connections import NOTICE_LOSS
from defect_detection.serving.of_product import allowed, product_name
from defect_detection.serving.problems import described
from defect_detection.serving.services import MAX_STREAMS, services, services_of
from defect_detection.serving.strict import Query, RecordId

JOBS = Tag(name="jobs", description="Retrainings in the background")
STREAM_S = 120.0  # after which a stream ends and its reader comes again, with the place that it had reached
LOOK_EVERY_S = 0.3  # for new lines
PLACE = re.compile(r"[0-9]{1,18}")  # in a log
HEARTBEAT_S = (
    5.0  # of silence, after which a comment is sent: a proxy keeps the stream, and a lost reader is noticed
)

jobs_api = APIBlueprint("jobs", __name__)
log = logging.getLogger(__name__)


def register_jobs(app: OpenAPI, config: Config) -> None:
    """Register the views of jobs. Jobs run after the `worker` of the services is started."""
    if config.jobs.retrain_after_labels and config.data.feedback_dir is None:
        raise ConfigError(
            f"config.yaml: jobs.retrain_after_labels: {config.jobs.retrain_after_labels} labels start a retraining, but "
            "data.feedback_dir is null; set a folder, such as data/feedback"
        )
    database = services_of(app).records.database
    services_of(app).metrics.follow_each(
        "defect_jobs",
        "Retrainings by state",
        "state",
        lambda: {state: float(number) for state, number in count_jobs(database).items()},
    )
    app.register_api(jobs_api)


class JobPath(BaseModel):
    id: RecordId


class JobsQuery(Query):
    limit: int = Field(50, ge=1, le=500)


class JobShown(BaseModel):
    """One retraining that was asked for."""

    id: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    by: str = Field(description="who requested it: name of the key, or: this machine")
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    cancel_requested: bool = Field(description="whether it was cancelled; its processes may still be ending")
    exit_code: int | None
    outcome: str | None = Field(
        description="promote, passed, hold or insufficient evidence, if the job succeeded"
    )
    reason: str | None = Field(description="why it failed or was cancelled")
    product: str
    promotes: bool = Field(description="false: a model that passes the gate waits until a person promotes it")
    images: int | None = Field(description="number of images that it read; null: unknown")
    start_from: StartFrom | None = Field(
        description="where the retraining starts; null: as re_train.yaml says"
    )
    log: str = Field(description="address of its log, as server-sent events")

    @classmethod
    def of(cls, job: Job) -> "JobShown":
        facts = {name: getattr(job, name) for name in cls.model_fields if name != "log"}
        return cls(**facts, log=absolute(f"/jobs/{job.id}/log"))


class JobsList(BaseModel):
    jobs: list[JobShown]


def wants_async(asked: Request) -> bool:
    """Say whether a request prefers not to wait (RFC 7240)."""
    preferences = ",".join(asked.headers.getlist("Prefer")).lower().split(",")
    return any(one.partition(";")[0].strip() == "respond-async" for one in preferences)


def accept(by: Caller, product: str, how: HowToRetrain) -> Response:
    """Queue a retraining of a product, and return the address of its job."""
    job = create_job(services().records.database, by.name, product, how=how)
    answer = as_json(JobShown.of(job), HTTPStatus.ACCEPTED)
    answer.headers["Location"] = absolute(f"/jobs/{job.id}")
    answer.headers["Preference-Applied"] = "respond-async"
    return answer


def retrain_if_due(product: str) -> None:
    """Queue a retraining when enough images of a product were labelled since the last; feedback never fails because of it."""
    labels = services().config.jobs.retrain_after_labels
    if labels is None:
        return
    try:
        job = create_job_if_due(services().records.database, labels, NEW_LABELS, product)
    except RecordsError as error:
        log.warning("the retraining could not be queued: %s", error)
    else:
        if job is not None:
            log.info(
                "job %s: retraining queued, because %d images were labelled since the last one",
                job.id,
                labels,
            )


@jobs_api.get(
    "/jobs",
    summary="List the latest jobs",
    tags=[JOBS],
    responses={200: JobsList, **{status: described(status) for status in (401, 403, 503)}},
)
def jobs(query: JobsQuery) -> Response:
    found = list_jobs(services().records.database, query.limit, product_name())
    return as_json(JobsList(jobs=[JobShown.of(job) for job in found]))


@jobs_api.get(
    "/jobs/<id>",
    summary="Show one job",
    tags=[JOBS],
    responses={200: JobShown, **{status: described(status) for status in (401, 403, 404, 503)}},
)
def job(path: JobPath) -> Response:
    return as_json(JobShown.of(_find(path.id)))


@jobs_api.post(
    "/jobs/<id>/cancel",
    summary="Cancel a job and end all its processes",
    tags=[JOBS],
    responses={200: JobShown, **{status: described(status) for status in (401, 403, 404, 503)}},
)
def cancel(path: JobPath) -> Response:
    _find(path.id)
    return as_json(JobShown.of(request_cancel(services().records.database, path.id, caller().name)))


@jobs_api.get(
    "/jobs/<id>/log",
    summary="Follow the log of a job",
    description="Server-sent events, one per line of the log. The `id` is the position in the log; send it as Last-Event-ID to "
    "continue. Each line of a retraining is a JSON object: `text` is for a person; `step` (data, training, validation, test, "
    "decision), `reason`, `outcome`, `model`, `version`, `images`, `done`, `total`, `compared`, `helps` and `error` are there "
    "where they apply. Any other line is plain text from a library or a script of your own. The last event is `end`, with the "
    "state of the job.",
    tags=[JOBS],
    responses={
        200: {"description": "events", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
        **{status: described(status) for status in (401, 403, 404, 503)},
    },
)
def job_log(path: JobPath) -> Response:
    found = _find(path.id)
    sent = request.headers.get("Last-Event-ID", "")
    place = int(sent) if PLACE.fullmatch(sent) else 0
    has_left = request.environ.get("waitress.client_disconnected", lambda: False)
    readiness = services().readiness

    def has_gone() -> bool:
        return readiness.is_stopping or has_left()

    request.environ.get(NOTICE_LOSS, lambda: None)()
    file = log_file_of(services().config.root, found.id)
    streams = services().streams
    if not streams.acquire(blocking=False):
        raise ServiceUnavailable(
            f"{MAX_STREAMS} logs are already being followed; try again later", retry_after=10
        )
    events = _Stream(_events(services().records.database, found.id, file, place, has_gone), streams)
    return Response(events, content_type="text/event-stream")


class _Stream:
    """Events that give their place among `MAX_STREAMS` free when the reader goes, also before the first was read."""

    def __init__(self, events: Iterator[str], streams: threading.BoundedSemaphore) -> None:
        self._events = events
        self._streams: threading.BoundedSemaphore | None = streams

    def __iter__(self) -> Iterator[str]:
        return self._events

    def close(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams.release()


def _events(
    database: Database, job_id: str, file: Path, reached: int, has_gone: Callable[[], bool]
) -> Iterator[str]:
    end = time.monotonic() + STREAM_S
    heard = time.monotonic()
    yield ": follows\n\n"
    while time.monotonic() < end and not has_gone():
        job = _ended_job(database, job_id)
        read = partial(read_log, database, job_id, file)
        for place, line in _lines(read, reached, is_complete=job is not None):
            reached, heard = place, time.monotonic()
            yield f"id: {place}\ndata: {line}\n\n"
        if job is not None:
            yield f"event: end\nid: {reached}\ndata: {json.dumps({'state': job.state, 'reason': job.reason})}\n\n"
            return
        if time.monotonic() - heard > HEARTBEAT_S:
            heard = time.monotonic()
            yield ": waits\n\n"
        time.sleep(LOOK_EVERY_S)


def _ended_job(database: Database, job_id: str) -> Job | None:
    """Return the job once it has ended; while the database is lost that isn't known."""
    try:
        found = find_job(database, job_id)
    except RecordsError:
        return None
    return found if found.has_ended else None


def _lines(read: Callable[[int], bytes], place: int, is_complete: bool) -> Iterator[tuple[int, str]]:
    """Yield the lines from a place on, each with the place after it; the last without its end only if no more comes."""
    rest = b""
    while content := read(place + len(rest)):
        *whole, rest = (rest + content).split(b"\n")
        for line in whole:
            place += len(line) + 1
            yield place, _shown(line)
    if rest and is_complete:
        yield place + len(rest), _shown(rest)


def _shown(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r").rpartition("\r")[2]


def _find(job_id: str) -> Job:
    """Return a job of a product that the caller may use."""
    job = find_job(services().records.database, job_id)
    allowed(job.product)
    return job
