"""Views of a product's images beside single changes: parts by pattern, the bin, zips, the history and the findings of the audit."""

from pathlib import Path
from typing import Annotated

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from pydantic import BaseModel, Field, WithJsonSchema
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from defect_detection.data.bounds import Limits
from defect_detection.data.name_pattern import MOST_CHARACTERS
from defect_detection.data.other_files import what_to_do
from defect_detection.errors import ImageError
from defect_detection.serving.answer import CSV, as_csv, as_json
from defect_detection.serving.callers import caller
from defect_detection.serving.of_product import project
from defect_detection.serving.problems import described
from defect_detection.serving.products import Project
from defect_detection.serving.services import services
from defect_detection.serving.strict import NUMBER, Query, Words
from defect_detection.serving.views.data_failures import DATA, FAILURES, register_failures
from defect_detection.serving.views.images_of_product import ChangedCount, add_one
from defect_detection.serving.views.prediction import BINARY
from defect_detection.text import CONTROLS
from defect_detection.use_cases.add_images import Added
from defect_detection.use_cases.change_images import empty_bin
from defect_detection.use_cases.image_history import COLUMNS, changes_of, findings_of
from defect_detection.use_cases.parts_by_pattern import preview_parts, set_parts
from defect_detection.use_cases.unpack_images import AddMember, append_piece, begin_archive, unpack_step

OCTETS = "application/octet-stream"
STATE = "^[0-9a-f]{16}$"
# What `NamePattern` takes: {part} once, and a text between two places
PATTERN = {
    "type": "string",
    "maxLength": MOST_CHARACTERS,
    "pattern": rf"^(?!.*\{{part\}}.*\{{part\}})(?!.*(\*|\{{part\}})(\*|\{{part\}}))[^{CONTROLS}]*\{{part\}}[^{CONTROLS}]*$",
}

more_of_images_api = APIBlueprint("more_of_images", __name__)
register_failures(more_of_images_api)


class PartsQuery(Query):
    pattern: Annotated[Words, WithJsonSchema(PATTERN)] = Field(
        description="pattern of the file names: {part} stands for the part, * for any text, such as {part}_*.png"
    )
    only_without: bool = Field(True, description="true: images that have a part keep it")


class ExampleShown(BaseModel):
    file: str
    part: str


class PartsShown(BaseModel):
    """What a pattern finds."""

    state: str = Field(description="state of the images; send it with POST /data/parts")
    matched: int = Field(description="images whose name matches")
    parts: int
    examples: list[ExampleShown]
    unmatched: int = Field(description="images whose name does not match; they stay as they are")
    unmatched_examples: list[str]


class PartsBody(PartsQuery, extra="forbid"):
    only_without: bool = Field(True, strict=True, description="true: images that have a part keep it")
    state: str = Field(
        pattern=STATE, description="state from the preview. If it differs now, images have changed"
    )


class StateBody(BaseModel, extra="forbid"):
    state: str = Field(
        pattern=STATE, description="state from GET /data. If it differs now, images have changed"
    )


class EmptiedShown(BaseModel):
    deleted: int


class ArchiveBody(BaseModel, extra="forbid"):
    name: Annotated[str, Field(max_length=1000)]
    size: Annotated[int, Field(ge=1, le=10**13), NUMBER] = Field(description="bytes")
    modified: Annotated[float, Field(ge=0, le=1e11), NUMBER] = Field(
        0, description="when it was written, in seconds since 1970"
    )


class ArchiveShown(BaseModel):
    id: str = Field(description="the same id for the same file, so an interrupted upload can continue")
    received: int = Field(description="number of stored bytes; the next piece begins here")


class ArchivePath(BaseModel):
    id: str = Field(pattern="^[0-9a-f]{16}$")


class PieceQuery(Query):
    offset: int = Field(ge=0, le=10**13, description="where the piece begins in the file")


class ReceivedShown(BaseModel):
    received: int


class UnpackBody(BaseModel, extra="forbid"):
    start: Annotated[int, Field(ge=0, le=10**6), NUMBER] = Field(
        0, description="`next` of the previous response"
    )


class SkippedShown(BaseModel):
    name: str
    reason: str


class UnpackedShown(BaseModel):
    """The result for some files of a zip."""

    total: int = Field(description="files in the zip")
    next: int | None = Field(
        description="send it as start of the next request; null: all files are done, and the zip is deleted"
    )
    added: int
    there: int = Field(description="images that were already stored")
    left_out: int = Field(description="notes, tables and system files")
    skipped: list[SkippedShown]


class FindingShown(BaseModel):
    kind: str
    title: str
    advice: str
    files: list[str]


class FindingsShown(BaseModel):
    created: str | None = Field(
        description="time of the latest audit (each training runs one); null: none yet"
    )
    findings: list[FindingShown]


@more_of_images_api.get(
    "/data/parts",
    summary="Show which parts a pattern finds in the names",
    tags=[DATA],
    responses={200: PartsShown, **FAILURES},
)
def preview(query: PartsQuery) -> Response:
    found = preview_parts(project().images, query.pattern, only_without=query.only_without)
    return as_json(
        PartsShown(
            state=found.state,
            matched=found.matched,
            parts=found.parts,
            examples=[ExampleShown(file=file, part=part) for file, part in found.examples],
            unmatched=found.unmatched,
            unmatched_examples=list(found.unmatched_examples),
        )
    )


@more_of_images_api.post(
    "/data/parts",
    summary="Set parts from a pattern of the names",
    tags=[DATA],
    responses={200: ChangedCount, **FAILURES},
)
def parts(body: PartsBody) -> Response:
    done = set_parts(
        project().images, body.pattern, body.state, caller().name, only_without=body.only_without
    )
    return as_json(ChangedCount(images=len(done.images), to_test=done.to_test))


@more_of_images_api.post(
    "/data/bin/empty",
    summary="Delete what is in the bin, for good",
    tags=[DATA],
    responses={200: EmptiedShown, **FAILURES},
)
def empty(body: StateBody) -> Response:
    return as_json(EmptiedShown(deleted=empty_bin(project().images, body.state, caller().name)))


@more_of_images_api.post(
    "/data/archives",
    summary="Begin to send a zip of images, or continue",
    tags=[DATA],
    responses={200: ArchiveShown, **FAILURES},
)
def begin(body: ArchiveBody) -> Response:
    key, received = begin_archive(project().images, body.name, body.size, body.modified)
    return as_json(ArchiveShown(id=key, received=received))


@more_of_images_api.post(
    "/data/archives/<id>",
    summary="Send a piece of a zip",
    tags=[DATA],
    responses={200: ReceivedShown, **FAILURES, **{status: described(status) for status in (400, 413, 415)}},
    openapi_extensions={"requestBody": {"required": True, "content": {OCTETS: {"schema": BINARY}}}},
)
def piece(path: ArchivePath, query: PieceQuery) -> Response:
    images = project().images
    if request.mimetype != OCTETS:
        raise UnsupportedMediaType(
            f"expected the Content-Type {OCTETS}, received {request.mimetype or 'none'}"
        )
    content = request.get_data(cache=False)
    if not content:
        raise BadRequest("expected a piece of the file as the body, received no bytes")
    return as_json(ReceivedShown(received=append_piece(images, path.id, query.offset, content)))


@more_of_images_api.post(
    "/data/archives/<id>/unpack",
    summary="Add the images of a zip, for some seconds; repeat it until `next` is null",
    tags=[DATA],
    responses={200: UnpackedShown, **FAILURES},
)
def unpack(path: ArchivePath, body: UnpackBody) -> Response:
    product = project()
    most = services().config.serving.max_upload_bytes
    step = unpack_step(product.images, path.id, body.start, _adder(product), most)
    return as_json(
        UnpackedShown(
            total=step.total,
            next=step.next,
            added=step.added,
            there=step.there,
            left_out=step.left_out,
            skipped=[SkippedShown(name=name, reason=reason) for name, reason in step.skipped],
        )
    )


def _adder(product: Project) -> AddMember:
    by, limits = caller().name, Limits.of(product.config.data)

    def add(name: str, content: bytes, modified: float | None) -> Added:
        try:
            return add_one(product, limits, name, content, by, modified)
        except UnsupportedMediaType as error:
            raise ImageError(what_to_do(Path(name)) if content else "an empty file (0 bytes)") from error
        except RequestEntityTooLarge as error:
            raise ImageError(error.description or "too large") from error

    return add


@more_of_images_api.get(
    "/data/findings",
    summary="Show which images the latest audit found",
    tags=[DATA],
    responses={200: FindingsShown, **FAILURES},
)
def findings() -> Response:
    created, found = findings_of(project().images)
    shown = [
        FindingShown(kind=one.kind, title=one.title, advice=one.advice, files=list(one.files))
        for one in found
    ]
    return as_json(FindingsShown(created=created, findings=shown))


@more_of_images_api.get(
    "/data/changes.csv",
    summary="Save who changed which image, and when",
    description="A text that a spreadsheet would run as a formula gets an apostrophe in front.",
    tags=[DATA],
    responses={
        200: CSV,
        **FAILURES,
    },
)
def changes() -> Response:
    return as_csv("changes", COLUMNS, ([row] for row in changes_of(project().images)))
