"""``GET /advice``: what the images and labels support, and what comes next."""

from http import HTTPStatus

from flask import Response
from flask_openapi3.blueprint import APIBlueprint

from defect_detection.errors import DataError
from defect_detection.retraining.advice import Advice, advise
from defect_detection.serving.answer import as_json
from defect_detection.serving.of_product import project
from defect_detection.serving.problems import described, problem
from defect_detection.serving.services import services
from defect_detection.serving.views.retrain import RETRAINING

advice_api = APIBlueprint("advice", __name__)


@advice_api.get(
    "/advice",
    summary="Report what the present images and labels can train and measure, and what 20 more labels would change. Reads all images",
    tags=[RETRAINING],
    responses={200: Advice, **{status: described(status) for status in (401, 403, 409, 503)}},
)
def advice() -> Response:
    parts, config = services(), project().config
    with parts.reads.table():
        try:
            return as_json(advise(config, parts.records.database))
        except DataError as error:
            return problem(HTTPStatus.CONFLICT, str(error))
