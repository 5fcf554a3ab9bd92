"""Answer every error in one shape: problem JSON (RFC 9457)."""

import json
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, current_app, request
from pydantic import BaseModel, Field, ValidationError
from werkzeug.exceptions import HTTPException

from defect_detection.errors import BusyError, NoModelError, TrackingError
from defect_detection.serving.callers import caller

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """An error and what to do about it."""

    type: str = Field(description="URI of the problem type; about:blank: see the status")
    title: str = Field(description="the status in words")
    status: int = Field(description="the HTTP status")
    detail: str = Field(description="what happened and what to do")


def new_problem(status: int, detail: str) -> Problem:
    """Describe one error."""
    return Problem(type="about:blank", title=HTTPStatus(status).phrase, status=status, detail=detail)


def problem_json(status: int, detail: str, path: str = "") -> str:
    """Write the body of an error. Below ``/v2`` it also has the member `error`, for clients of that protocol."""
    body = new_problem(status, detail).model_dump()
    return json.dumps(body | {"error": detail} if path.startswith("/v2") else body)


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """Build the answer for one error."""
    return Response(problem_json(status, detail, request.path), status, headers, content_type=MEDIA_TYPE)


def problem_of(error: HTTPException) -> Problem:
    """Describe an error that replaces one result among several."""
    return new_problem(error.code or 500, error.description or "")


def problem_of_values(error: ValidationError) -> Response:
    """Build the answer for parameters or a JSON body with wrong values."""
    lines = [
        f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}, received {repr(one['input'])[:60]}"
        for one in error.errors()[:10]
    ]
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(lines))


def described(status: int) -> dict[str, Any]:
    """Describe one error status for the OpenAPI document."""
    example = new_problem(status, "what happened, what was expected and what to do").model_dump()
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
    return {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: content}}


def register_problems(app: Flask) -> None:
    """Register the handlers for errors of routing, views and our own code."""
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(BusyError, _of_busy)
    app.register_error_handler(NoModelError, _of_unavailable)
    app.register_error_handler(TrackingError, _of_unavailable)
    app.register_error_handler(Exception, _of_bug)


def _of_http(error: HTTPException) -> Response:
    headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    return problem(error.code or 500, error.description or "", headers)


def for_caller(reason: str) -> str:
    """Return a reason that may contain files and addresses of the server; complete only for local callers and callers with a key."""
    return (
        reason
        if caller().role is not None
        else "See the log of the server for the reason; with a key, the response contains it too."
    )


def _of_busy(error: BusyError) -> Response:
    return problem(HTTPStatus.CONFLICT, str(error))


def _of_unavailable(error: TrackingError) -> Response:
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, for_caller(str(error)), {"Retry-After": "5"})


def _of_bug(error: Exception) -> Response:
    current_app.logger.error("unexpected error", exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "unexpected error: see the log of the server")
