"""Views of production: history, manual promotion, rollback and reports."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.openapi import OpenAPI
from pydantic import BaseModel, Field, StringConstraints
from werkzeug.exceptions import Forbidden, NotFound

from defect_detection.records.keys import Role
from defect_detection.serving.addresses import absolute
from defect_detection.serving.answer import as_json
from defect_detection.serving.callers import caller
from defect_detection.serving.changes import RefusedError
from defect_detection.serving.of_product import project
from defect_detection.serving.problems import described, problem
from defect_detection.serving.services import services
from defect_detection.serving.strict import NO_CONTROLS, Matching, Query
from defect_detection.serving.views.models import MODELS
from defect_detection.text import CONTROLS
from defect_detection.tracking.lease import PROMOTIONS
from defect_detection.tracking.ledger import previous
from defect_detection.tracking.ledger_listing import ListedEntry, list_entries, report_of
from defect_detection.tracking.registry import Registry
from defect_detection.use_cases.history import attention
from defect_detection.use_cases.turn import PRODUCTION_ALIAS, number_of

REPORT_POLICY = (  # a separate page that may display its content, but run nothing
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

# Some words: no control characters, which neither a ledger nor a command line takes
Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=1000),
    Matching(rf"^[^{CONTROLS}]*$", NO_CONTROLS),
]

production_api = APIBlueprint("production", __name__)


def register_production(app: OpenAPI) -> None:
    """Give the application its views of production."""
    app.register_error_handler(RefusedError, lambda error: problem(HTTPStatus.CONFLICT, str(error)))
    app.register_api(production_api)


class VersionPath(BaseModel):
    version: int = Field(
        ge=1, le=2**31 - 1, description="version of the production model, or of the model in `name`"
    )


class ReportPath(BaseModel):
    run_id: str = Field(pattern="^[0-9a-f]{32}$", description="of the entry in the ledger")


class Promotion(BaseModel, extra="forbid"):
    """The reason for promoting a version."""

    reason: Reason = Field(
        description="reason, recorded in the ledger", examples=["Version 4 rejects reflections"]
    )
    name: (
        Annotated[str, Matching(rf"^[^{CONTROLS}]{{1,256}}$", f"1 to 256 characters, {NO_CONTROLS}")] | None
    ) = Field(
        None,
        description="registered model of the version, if not the production model; the version is first copied to the production "
        "model",
        examples=["Testing_Reg"],
    )
    gated: bool = Field(
        False,
        strict=True,
        description="true: only if the gate passed it, compared with the version in production now",
    )


class Rollback(BaseModel, extra="forbid"):
    """The version to return to; without `to`, the previous version."""

    to: int | None = Field(None, ge=1, le=2**31 - 1, strict=True, examples=[3])
    reason: Reason | None = Field(None, description="reason, recorded in the ledger")


class Changed(BaseModel):
    """Production has changed. This server serves the new version within seconds: GET /models."""

    message: str
    in_production: int = Field(description="the version")


class Decision(BaseModel):
    """One entry of the ledger."""

    number: int
    kind: str = Field(
        description="evaluation, manual promotion, rollback or repair; unreadable: damaged and skipped"
    )
    state: str = Field(
        description="done; intended: in progress or interrupted; abandoned: did not take place"
    )
    outcome: str = Field(description="promote, passed, hold or insufficient evidence")
    before: int | None
    after: int | None = Field(description="the new version in production; null: unchanged")
    candidate: str
    candidate_run_id: str = Field(description="training run of the evaluated candidate; empty if unknown")
    who: str
    when: datetime
    why: str
    accuracy: str = Field(examples=["198/200 (99.0 %)"])
    escapes: str = Field(examples=["1/100 (1.0 %)"])
    gated: bool = Field(description="whether the gate decided")
    report: str | None = Field(description="address of its report, if it is on this machine")


class HistoryQuery(Query):
    limit: int = Field(50, ge=1, le=500)


class HistoryShown(BaseModel):
    """List each change of production: when, who and why."""

    name: str = Field(description="the production model")
    in_production: int | None
    rollback_to: int | None = Field(description="the target of a rollback without `to`")
    notes: list[str] = Field(description="what needs attention")
    total: int = Field(description="number of entries")
    entries: list[Decision] = Field(description="newest first")


class CallerShown(BaseModel):
    """Show the caller and its rights."""

    name: str = Field(description="name of the key, or: this machine")
    role: Role
    products: list[str] | None = Field(
        None, description="that the key is bound to; absent if it is good for all"
    )


class PageKey(BaseModel):
    """What the page sends as its key."""

    key: str


@production_api.get(
    "/access",
    summary="Show the caller and its rights",
    tags=[MODELS],
    responses={200: CallerShown, **{status: described(status) for status in (401, 403, 503)}},
)
def access() -> Response:
    by = caller()
    shown = CallerShown(name=by.name, role=by.role or "operator", products=list(by.products) or None)
    return Response(shown.model_dump_json(exclude_none=True), content_type="application/json")


@production_api.post(
    "/access/page",
    summary="Exchange the link of `defect page` for a key of the page",
    description="Send the code of the link as the key, once, from this machine. The key of the page is valid for 12 hours.",
    tags=[MODELS],
    responses={200: PageKey, 401: described(401)},
)
def page_key() -> Response:
    return as_json(PageKey(key=services().access.exchange(request)))


@production_api.get(
    "/history",
    summary="List each change of production: when, who and why",
    tags=[MODELS],
    responses={200: HistoryShown, **{status: described(status) for status in (401, 403, 503)}},
)
def history(query: HistoryQuery) -> Response:
    config = project().config
    name = config.mlflow.production_model_name
    listed = list_entries(config.tracking_uri, config.named(PROMOTIONS))
    entries = tuple(one.entry for one in listed)
    current = number_of(Registry(config.tracking_uri).glance(name, PRODUCTION_ALIAS))
    return as_json(
        HistoryShown(
            name=name,
            in_production=current,
            rollback_to=None if current is None else previous(entries, current),
            notes=list(attention(entries, current)),
            total=len(entries),
            entries=[_decision(one) for one in listed[: query.limit]],
        )
    )


@production_api.post(
    "/models/<int:version>/promote",
    summary="Promote a version by hand, without the gate; with `gated`, one that passed it",
    tags=[MODELS],
    responses={200: Changed, **{status: described(status) for status in (401, 403, 409, 413, 503)}},
)
def promote(path: VersionPath, body: Promotion) -> Response:
    _check_model(body.name)
    of_model = [] if body.name is None else [f"--model={body.name}"]
    gated = ["--gated"] if body.gated else []
    return _change(
        ["promote", str(path.version), f"--reason={body.reason}", *of_model, *gated], caller().name
    )


def _check_model(name: str | None) -> None:
    """Refuse the model of another product, if the caller's key is bound to products."""
    names = project().config.mlflow
    ours = (None, names.production_model_name, names.testing_model_name, names.registered_model_name)
    if caller().products and name not in ours:
        raise Forbidden(
            f"The key '{caller().name}' is bound to products, and {name!r} is no model of '{project().name}'."
        )


@production_api.post(
    "/models/rollback",
    summary="Return to the previous version in production",
    tags=[MODELS],
    responses={200: Changed, **{status: described(status) for status in (401, 403, 409, 413, 503)}},
)
def rollback(body: Rollback) -> Response:
    to = [] if body.to is None else [f"--to={body.to}"]
    why = [] if body.reason is None else [f"--reason={body.reason}"]
    return _change(["rollback", *to, *why], caller().name)


@production_api.get(
    "/reports/<run_id>",
    summary="Return the report of a decision, as a page",
    tags=[MODELS],
    responses={
        200: {"description": "the page", "content": {"text/html": {"schema": {"type": "string"}}}},
        **{status: described(status) for status in (401, 403, 404, 503)},
    },
)
def report(path: ReportPath) -> Response:
    config = project().config
    file = report_of(config.tracking_uri, path.run_id, config.named(PROMOTIONS))
    if file is None:
        raise NotFound(
            f"No report of a decision {path.run_id} is on this machine: open the run in MLflow, experiment 'promotions'."
        )
    headers = {"Content-Security-Policy": REPORT_POLICY}
    return Response(file.read_bytes(), headers=headers, content_type="text/html; charset=utf-8")


def _change(arguments: list[str], caller: str) -> Response:
    config = project().config
    registry, name = Registry(config.tracking_uri), config.mlflow.production_model_name
    registry.glance(name, PRODUCTION_ALIAS)  # an unreachable store is reported immediately
    message = services().changes.run(arguments, caller, config)
    services().products.look_now(config.product)
    found = registry.glance(name, PRODUCTION_ALIAS)
    return as_json(Changed(message=message, in_production=found.version if found else 0))


def _decision(listed: ListedEntry) -> Decision:
    entry = listed.entry
    facts = {name: getattr(entry, name) for name in Decision.model_fields if hasattr(entry, name)}
    address = absolute(f"/reports/{entry.run_id}") if listed.has_report else None
    return Decision(**facts, candidate_run_id=listed.candidate_run_id, report=address)
