"""Views of records: inspections with their images, feedback, and the state of recording."""

import json
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Annotated, Literal, TypeVar

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from flask_openapi3.openapi import OpenAPI
from pydantic import AfterValidator, BaseModel, Field
from werkzeug.exceptions import Gone, UnprocessableEntity

from defect_detection.data.class_names import shown, why_no_type
from defect_detection.data.image_formats import FORMATS
from defect_detection.errors import RecordsError, UnknownRecordError
from defect_detection.records.feedback import Said, add_feedback, are_conflicting
from defect_detection.records.inspections import Recorded, find_inspection
from defect_detection.records.record_store import Records
from defect_detection.serving.addresses import absolute
from defect_detection.serving.answer import as_json
from defect_detection.serving.callers import caller
from defect_detection.serving.of_product import allowed, config_of
from defect_detection.serving.problems import described, for_caller, problem
from defect_detection.serving.services import services
from defect_detection.serving.strict import Matching, RecordId
from defect_detection.serving.views.jobs import retrain_if_due
from defect_detection.serving.views.prediction import BoxShown, TypeShown
from defect_detection.text import CONTROLS

T = TypeVar("T")

INSPECTIONS = Tag(name="inspections", description="Inspections and their labels")
LOOK_S = 0.2  # between two looks whether it is written
FLUSH_S = 10.0  # time to wait for an inspection that is named before it is written
MEDIA_TYPES = {one.suffixes[0]: one.media_type for one in FORMATS}

records_api = APIBlueprint("records", __name__)


def register_records(app: OpenAPI) -> None:
    """Give the application its views of records."""
    app.register_error_handler(RecordsError, _of_records)
    app.register_api(records_api)


class InspectionPath(BaseModel):
    id: RecordId


TypeName = Annotated[
    str,
    # Ends without a dot: Windows has no such folder
    Matching(
        r"^[ \t\r\n]*[^\W_]([\w .-]{0,62}[\w-])?[ \t\r\n]*$",
        "a name of at most 64 letters, digits, blanks, '.', '-' and '_' that begins with a letter or a digit and ends without a dot",
    ),
    AfterValidator(shown),
]


class FeedbackGiven(BaseModel, extra="forbid"):
    """A person's label for the image of one inspection."""

    inspection_id: RecordId
    label: Literal["ok", "defective"]
    defect_type: TypeName | None = Field(
        None, description="used as a folder name; stored only with the label defective"
    )
    comment: Annotated[
        str,
        Matching(
            rf"^(?:[^{CONTROLS}]|[\t\r\n])*$", "a text without control characters other than line breaks"
        ),
    ] = Field("", max_length=2000, description="may have several lines")

    @property
    def type_of_defect(self) -> str | None:
        return self.defect_type if self.label == "defective" else None


class FeedbackKept(BaseModel):
    """One label as it is kept."""

    id: int
    at: datetime
    inspection_id: str
    label: Literal["ok", "defective"]
    defect_type: str
    comment: str
    by: str = Field(description="name of the key, or: this machine")

    @classmethod
    def of(cls, said: Said) -> "FeedbackKept":
        return cls(**{name: getattr(said, name) for name in cls.model_fields})


class InspectionShown(BaseModel):
    """One inspection with all labels of its image; the latest counts."""

    id: str
    at: datetime
    verdict: str
    score: float = Field(description="P(defective)")
    threshold: float
    reason: str | None = Field(
        description="how the image differs from the training images, so it is never ok; null if it does not differ"
    )
    novelty: float | None = Field(
        description="how much the image differs from the OK training images, in standard deviations; null if unknown"
    )
    brightness: float | None = Field(description="mean gray level; null if recorded by an earlier version")
    contrast: float | None = Field(description="standard deviation of the gray levels")
    sharpness: float | None = Field(description="root mean square of the Laplacian, in gray levels")
    colour_balance: float | None = Field(description="mean red / mean blue; 1 for gray images")
    model_name: str
    model_version: int
    latency_ms: float
    name: str = Field(description="the file name given by the sender")
    group: str
    line: str
    station: str
    part: str
    product: str
    sent_by: str = Field(
        description="name of the key, or address of a caller without a key; empty if recorded by an earlier version"
    )
    defect_type: str | None = Field(
        description="the strongest type of defect by the model, other or unknown; null if it names none"
    )
    defect_types: list[TypeShown] = Field(description="all types by the model, strongest first")
    boxes: list[BoxShown] = Field(description="where the model saw defects, strongest first")
    sha256: str = Field(description="of the image's bytes")
    image: str | None = Field(description="address of the image; null if it is not stored")
    label: Literal["ok", "defective"] | None = Field(description="the current label")
    conflicting: bool = Field(description="whether its image has received both labels")
    feedback: list[FeedbackKept] = Field(description="all labels of its image, latest first")

    @classmethod
    def of(cls, recorded: Recorded) -> "InspectionShown":
        one, said = recorded.inspected, recorded.said
        facts = {name: getattr(one, name) for name in one.__dataclass_fields__}
        facts |= {name: json.loads(facts[name] or "[]") for name in ("boxes", "defect_types")}
        return cls(
            **facts,
            image=recorded.image_suffix and absolute(f"/inspections/{one.id}/image"),
            label=said[0].label if said else None,
            conflicting=are_conflicting(said),
            feedback=[FeedbackKept.of(each) for each in said],
        )


class Recording(BaseModel):
    """How recording goes since this server started."""

    status: Literal["recording", "failing"]
    written: int = Field(description="inspections")
    waiting: int
    lost: int = Field(description="inspections that were answered but not recorded")
    images_lost: int = Field(description="recorded inspections whose image could not be written")
    images_refused: int = Field(
        description="recorded inspections without an image, because a sender without a key exceeded "
        "records.anonymous_gb_per_h"
    )
    error: str | None
    failing_since: datetime | None


@records_api.get(
    "/inspections/<id>",
    summary="Show one inspection",
    tags=[INSPECTIONS],
    responses={200: InspectionShown, **{status: described(status) for status in (401, 403, 404, 503)}},
)
def inspection(path: InspectionPath) -> Response:
    return as_json(InspectionShown.of(find_recorded(path.id)))


@records_api.get(
    "/inspections/<id>/image",
    summary="Return the image file as it was sent",
    tags=[INSPECTIONS],
    responses={
        200: {"description": "the image", "content": {"image/*": {}}},
        **{status: described(status) for status in (401, 403, 404, 410, 503)},
    },
)
def image(path: InspectionPath) -> Response:
    content, suffix = read_image(find_recorded(path.id))
    answer = Response(content, content_type=MEDIA_TYPES.get(suffix, "application/octet-stream"))
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return answer


@records_api.post(
    "/feedback",
    summary="Label an inspected image",
    tags=[INSPECTIONS],
    responses={201: FeedbackKept, **{status: described(status) for status in (401, 403, 404, 413, 503)}},
)
def feedback(body: FeedbackGiven) -> Response:
    product = find_recorded(body.inspection_id).inspected.product
    _check_type(body.type_of_defect or "", product)
    say = partial(
        add_feedback,
        _records().database,
        body.inspection_id,
        body.label,
        caller().name,
        body.type_of_defect or "",
        body.comment,
    )
    said = say()
    retrain_if_due(product)
    return as_json(FeedbackKept.of(said), HTTPStatus.CREATED)


def _check_type(defect_type: str, product: str) -> None:
    ok_classes = config_of(product).data.ok_classes
    if defect_type and (why := why_no_type(defect_type, ok_classes)):
        raise UnprocessableEntity(
            f"defect_type: expected the name of a defect, received {defect_type!r}, {why}"
        )


@records_api.get(
    "/health/records",
    summary="Show whether inspections are being recorded",
    tags=[Tag(name="health")],
    responses={200: Recording},
)
def recording() -> Response:
    state = _records().recorder.state()
    facts = {name: getattr(state, name) for name in state.__dataclass_fields__}
    facts["error"] = facts["error"] and for_caller(facts["error"])
    return as_json(Recording(status="failing" if state.error else "recording", **facts))


def read_image(found: Recorded) -> tuple[bytes, str]:
    """Return the bytes of an inspection's image, and the suffix of its kind: ``.png``.

    Raises:
        Gone: its image isn't kept.
    """
    suffix = found.image_suffix
    content = suffix and _records().images.read(found.inspected.sha256, suffix)
    if not suffix or not content:
        raise Gone(
            "The image of this inspection is not stored: it was deleted by pruning or could not be written."
        )
    return content, suffix


def find_recorded(inspection_id: str) -> Recorded:
    """Return an inspection.

    Raises:
        UnknownRecordError: no such inspection. Forbidden: the caller's key is bound to other products.
    """
    found = _once_written(partial(find_inspection, _records().database, inspection_id))
    allowed(found.inspected.product)
    return found


def _once_written(ask: Callable[[], T]) -> T:
    """Ask for an inspection; one that isn't known may just not be written yet, and is then waited for.

    Raises:
        UnknownRecordError: no such inspection. RecordsError: not known, and others could not be written in time.
    """
    recorder = _records().recorder
    before = recorder.state()  # before asking: what is written in between is found
    try:
        return ask()
    except UnknownRecordError:
        if not before.waiting:
            raise
    expected, end, is_done = before.written + before.waiting, time.monotonic() + FLUSH_S, False
    # Later inspections may come all the time, so the queue may never be empty.
    while not is_done and time.monotonic() < end:
        is_done = recorder.flush(LOOK_S) or recorder.state().written >= expected
    try:
        return ask()
    except UnknownRecordError:
        if is_done:
            raise
        raise RecordsError(
            f"recent inspections were not stored within {FLUSH_S:g} s; try again in a minute"
        ) from None


def _records() -> Records:
    records = services().records
    return records


def _of_records(error: RecordsError) -> Response:
    unknown = isinstance(error, UnknownRecordError)
    return problem(
        HTTPStatus.NOT_FOUND if unknown else HTTPStatus.SERVICE_UNAVAILABLE, for_caller(str(error))
    )
