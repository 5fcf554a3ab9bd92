"""``GET /training``: what a training would read, and how long it would take."""

from flask import Response
from flask_openapi3.blueprint import APIBlueprint

from defect_detection.records.jobs import list_jobs
from defect_detection.retraining.estimate import TrainingEstimate, estimate
from defect_detection.serving.answer import as_json
from defect_detection.serving.of_product import project
from defect_detection.serving.problems import described
from defect_detection.serving.services import services
from defect_detection.serving.views.retrain import RETRAINING

MOST_JOBS = 200  # that are looked through for earlier trainings

training_api = APIBlueprint("training", __name__)


@training_api.get(
    "/training",
    summary="Count the images that a training would read, and estimate how long it takes",
    tags=[RETRAINING],
    responses={200: TrainingEstimate, **{status: described(status) for status in (401, 403, 404, 503)}},
)
def training() -> Response:
    parts, config = services(), project().config
    with parts.reads.page():
        return as_json(estimate(config, list_jobs(parts.records.database, MOST_JOBS)))
