"""Send a pydantic model as a JSON response."""

from http import HTTPStatus

from flask import Response
from pydantic import BaseModel


def as_json(body: BaseModel, status: int = HTTPStatus.OK) -> Response:
    return Response(body.model_dump_json(), status, content_type="application/json")
