"""Answer every error in one shape: problem JSON (RFC 9457)."""

import json
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, current_app
from pydantic import BaseModel, Field
from werkzeug.exceptions import HTTPException

from defect_detection.errors import BusyError

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """What went wrong, and what to do about it."""

    type: str = Field(description="URI of the kind of problem; about:blank: the status says it all")
    title: str = Field(description="the status in words")
    status: int = Field(description="the HTTP status")
    detail: str = Field(description="what happened in this case, and what to do")


def problem_json(status: int, detail: str) -> str:
    """Write the body for one error."""
    body = Problem(type="about:blank", title=HTTPStatus(status).phrase, status=status, detail=detail)
    return json.dumps(body.model_dump())


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """Build the answer for one error."""
    return Response(problem_json(status, detail), status, headers, content_type=MEDIA_TYPE)


def described(status: int) -> dict[str, Any]:
    """Describe one error status for the OpenAPI document."""
    schema = Problem.model_json_schema()
    return {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}


def register_problems(app: Flask) -> None:
    """Give the errors of routing, of the views and of our own code their answers."""
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(BusyError, _of_busy)
    app.register_error_handler(Exception, _of_bug)


def _of_http(error: HTTPException) -> Response:
    headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    return problem(error.code or 500, error.description or "", headers)


def _of_busy(error: BusyError) -> Response:
    return problem(HTTPStatus.CONFLICT, str(error))


def _of_bug(error: Exception) -> Response:
    current_app.logger.error("unexpected error", exc_info=error)
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "unexpected error: the log of the server has the details"
    )
