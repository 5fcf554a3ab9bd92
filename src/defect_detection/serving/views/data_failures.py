"""Answer the failures of all views about images of a product in words."""

from http import HTTPStatus
from typing import Any

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from defect_detection.errors import DataError, ImageError, explain
from defect_detection.serving.problems import described, problem

DATA = Tag(name="data", description="Images of a product, from which its models are trained")
FAILURES: dict[str | int, Any] = {status: described(status) for status in (401, 403, 404, 409, 422, 503, 507)}


def register_failures(api: APIBlueprint) -> None:
    """Have the failures of views about images answered in words."""
    api.register_error_handler(DataError, _of_data)
    api.register_error_handler(OSError, _of_system)


def _of_data(error: DataError) -> Response:
    is_image = isinstance(error, ImageError)
    return problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE if is_image else HTTPStatus.UNPROCESSABLE_ENTITY, str(error)
    )


def _of_system(error: OSError) -> Response:
    return problem(HTTPStatus.INSUFFICIENT_STORAGE, f"{explain(error) or error}. Nothing was stored.")
