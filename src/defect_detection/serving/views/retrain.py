"""``POST /retrain``: retrain while the caller waits, or as a job in the background."""

from http import HTTPStatus
from typing import Any, Literal

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel, Field

from defect_detection.config.retraining import StartFrom
from defect_detection.records.jobs import HowToRetrain
from defect_detection.serving.answer import as_json
from defect_detection.serving.callers import caller
from defect_detection.serving.of_product import project
from defect_detection.serving.outcome import RetrainingOutcome
from defect_detection.serving.problems import described
from defect_detection.serving.services import services
from defect_detection.serving.strict import Query
from defect_detection.serving.views.jobs import JobShown, accept, wants_async

RETRAINING = Tag(name="retraining", description="Train again and promote a better model")

retrain_api = APIBlueprint("retrain", __name__)


class RetrainQuery(Query):
    promote: bool = Field(
        True,
        description="true: a model that passes the gate is promoted immediately; false: it waits until a person promotes it",
    )
    start_from: StartFrom | None = Field(
        None,
        description="registry: continue from a registered model; scratch: train as the first training does, with "
        "the settings of config.yaml and the sets of re_train.yaml, if there are any; null: as re_train.yaml says",
    )

    @property
    def how(self) -> HowToRetrain:
        return HowToRetrain(self.promote, self.start_from)


class RetrainingEnded(BaseModel):
    """The result of a retraining."""

    outcome: str | None = Field(
        description="PROMOTE, PASSED, HOLD or INSUFFICIENT EVIDENCE; null: no decision was reached",
        examples=["PROMOTE"],
    )
    reason: str | None = Field(description="reason of the decision")
    model: str | None = Field(
        description="the new registered version; null: no model was saved",
        examples=["Production_Reg version 4"],
    )
    job: str = Field(description="its id: GET /jobs/{id}")


class RetrainingSucceeded(RetrainingEnded):
    """The retraining succeeded; `outcome` says whether its model was promoted."""

    status: Literal["success"] = "success"
    message: Literal["Model retraining initiated successfully."] = "Model retraining initiated successfully."
    stdout: str = Field(description="its output; only the end of a long text")
    stderr: str = Field(description="its log; only the end of a long text")


class RetrainingFailed(RetrainingEnded):
    """The retraining failed or was cancelled; the promoted model is unchanged."""

    status: Literal["error"] = "error"
    message: Literal["Error during model retraining."] = "Error during model retraining."
    error_details: str = Field(description="the reason, in one line")
    stdout: str = Field(description="its output; only the end of a long text")
    stderr: str = Field(description="its log; only the end of a long text")


@retrain_api.post(
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
def retrain(query: RetrainQuery) -> Response:
    if wants_async(request):
        return accept(caller(), project().name, query.how)
    parts = services()
    run = parts.worker.run_now if parts.config.jobs.run_in_server else parts.worker.run_apart
    return _answer(*run(caller().name, project().name, query.how))


def _answer(job_id: str, outcome: RetrainingOutcome) -> Response:
    facts: dict[str, Any] = {
        "job": job_id,
        "outcome": outcome.decision and outcome.decision.upper(),
        **{name: getattr(outcome, name) for name in ("reason", "model", "stdout", "stderr")},
    }
    if outcome.failure is None:
        return as_json(RetrainingSucceeded(**facts))
    return as_json(RetrainingFailed(error_details=outcome.failure, **facts), HTTPStatus.INTERNAL_SERVER_ERROR)
