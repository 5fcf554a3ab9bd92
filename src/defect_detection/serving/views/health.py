"""The views: each translates between HTTP and one function of the package."""

from http import HTTPStatus
from typing import Any, Literal

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel, Field

from defect_detection.errors import DefectDetectionError
from defect_detection.serving.answer import as_json
from defect_detection.serving.callers import caller
from defect_detection.serving.job_process import Outcome
from defect_detection.serving.problems import described, for_caller, problem
from defect_detection.serving.prometheus import MEDIA_TYPE
from defect_detection.serving.services import services
from defect_detection.serving.views.jobs import JobShown, accept, wants_async

HEALTH = Tag(name="health", description="For load balancers and supervisors")
RETRAINING = Tag(name="retraining", description="Train again and promote a better model")

api = APIBlueprint("api", __name__)


class Live(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(BaseModel):
    """A promoted model is loaded, and inspections can be kept."""

    status: Literal["ready"] = "ready"
    name: str = Field(description="registered model", examples=["Production_Reg"])
    version: int = Field(description="the version that is served", examples=[3])
    problem: str | None = Field(description="why the promoted version is not served; absent if it is")


class RetrainingEnded(BaseModel):
    """What came of a retraining."""

    outcome: str | None = Field(
        description="PROMOTE, HOLD or INSUFFICIENT EVIDENCE; null: no decision was reached",
        examples=["PROMOTE"],
    )
    reason: str | None = Field(description="reason of the decision")
    model: str | None = Field(
        description="the new registered version; null: no model was saved",
        examples=["Production_Reg version 4"],
    )
    job: str = Field(description="its id: GET /jobs/{id}")


class RetrainingSucceeded(RetrainingEnded):
    """The retraining ended well, whether or not its model was promoted: `outcome` says which."""

    status: Literal["success"] = "success"
    message: Literal["Model retraining initiated successfully."] = "Model retraining initiated successfully."
    stdout: str = Field(description="its output; only the end of a long text")
    stderr: str = Field(description="its log; only the end of a long text")


class RetrainingFailed(RetrainingEnded):
    """The retraining ended with an error, or was cancelled; the promoted model is what it was."""

    status: Literal["error"] = "error"
    message: Literal["Error during model retraining."] = "Error during model retraining."
    error_details: str = Field(description="the reason, in one line")
    stdout: str = Field(description="its output; only the end of a long text")
    stderr: str = Field(description="its log; only the end of a long text")


@api.get("/health/live", summary="Report that the process is running", tags=[HEALTH], responses={200: Live})
def live() -> Response:
    return as_json(Live())


@api.get(
    "/health/ready",
    summary="Report whether a model is loaded and inspections can be recorded",
    tags=[HEALTH],
    responses={200: Ready, 503: described(503)},
)
def ready() -> Response:
    readiness = services().readiness
    try:
        champion, why_not_another = readiness.check()
    except DefectDetectionError as error:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, for_caller(str(error)))
    served = champion.reference
    return as_json(
        Ready(
            name=served.name, version=served.version, problem=why_not_another and for_caller(why_not_another)
        )
    )


@api.get(
    "/metrics",
    summary="Figures for Prometheus",
    tags=[HEALTH],
    responses={
        200: {"description": "text format 0.0.4", "content": {"text/plain": {"schema": {"type": "string"}}}}
    },
)
def metrics() -> Response:
    figures = services().metrics
    return Response(figures.text(), content_type=MEDIA_TYPE)


@api.post(
    "/retrain",
    summary="Run re_train/re_train.py and wait until it ends. With 'Prefer: respond-async', queue it and do not wait",
    tags=[RETRAINING],
    responses={
        200: RetrainingSucceeded,
        202: JobShown,
        500: RetrainingFailed,
        **{status: described(status) for status in (401, 403, 409, 413, 503)},
    },
)
def retrain() -> Response:
    if wants_async(request):
        return accept(caller())
    worker = services().worker
    return _answer(*worker.run_now(caller().name))


def _answer(job_id: str, outcome: Outcome) -> Response:
    facts: dict[str, Any] = {
        "job": job_id,
        "outcome": outcome.decision and outcome.decision.upper(),
        **{name: getattr(outcome, name) for name in ("reason", "model", "stdout", "stderr")},
    }
    if outcome.failure is None:
        return as_json(RetrainingSucceeded(**facts))
    return as_json(RetrainingFailed(error_details=outcome.failure, **facts), HTTPStatus.INTERNAL_SERVER_ERROR)
