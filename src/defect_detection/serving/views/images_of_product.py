"""Views of the images of a product: list them, add one, label them, give them parts, move them."""

from collections import Counter
from typing import Annotated, Literal

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from pydantic import BaseModel, Field
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from defect_detection.data.bounds import Limits
from defect_detection.data.image_folders import MOST_NAME_CHARACTERS, PLACES, ImagePlace
from defect_detection.serving.answer import as_json
from defect_detection.serving.callers import caller
from defect_detection.serving.of_product import project
from defect_detection.serving.problems import described
from defect_detection.serving.products import Project
from defect_detection.serving.strict import NO_CONTROLS, Matching, Query, Words
from defect_detection.serving.uploads import check_image
from defect_detection.serving.views.data_failures import DATA, FAILURES, register_failures
from defect_detection.serving.views.prediction import BINARY, IMAGE_TYPES
from defect_detection.text import CONTROLS
from defect_detection.use_cases.add_images import Added, add_image
from defect_detection.use_cases.change_images import ChangedImages, label_images, move_images, set_part
from defect_detection.use_cases.product_images import ListedImages, ProductImage

MOST_AT_ONCE = 200  # images of one request; its body has at most 16 KiB

images_of_product_api = APIBlueprint("images_of_product", __name__)
register_failures(images_of_product_api)

Tagged = Annotated[str, Field(max_length=12, pattern="^[0-9a-f]{12}$")]
File = Annotated[str, Field(max_length=MOST_NAME_CHARACTERS), Matching(rf"^[^{CONTROLS}]*$", NO_CONTROLS)]


class SeenImage(BaseModel, extra="forbid"):
    """An image, in the state that the caller saw."""

    file: File
    tag: Tagged = Field(
        description="the tag from GET /data/images. If the tag differs now, the image was changed"
    )


class ImageShown(SeenImage, extra="ignore"):
    """An image of a product."""

    place: ImagePlace
    label: Literal["ok", "defective"] | None = Field(description="null: not labelled yet")
    types: list[str] = Field(description="types of its defects")
    part: str = Field(description="images of one part stay in one split; empty: the image is a separate part")
    bytes: int
    day: str = Field(description="day of the file date")

    @classmethod
    def of(cls, one: ProductImage) -> "ImageShown":
        return cls.model_construct(
            file=one.file,
            tag=one.tag,
            place=one.place,
            label=one.label,
            types=list(one.types),
            part=one.part,
            bytes=one.n_bytes,
            day=one.day,
        )


class PlaceShown(BaseModel):
    """The images of one place."""

    images: int
    ok: int
    defective: int
    parts: int = Field(description="number of parts; an image without a part counts as one")
    types: dict[str, int] = Field(description="number of images of each defect type")


class DataShown(BaseModel):
    """How many images a product has."""

    product: str
    state: str = Field(description="changes if any image changes")
    unlabelled: PlaceShown
    train: PlaceShown
    test: PlaceShown
    challenge: PlaceShown
    bin: PlaceShown
    frozen: bool = Field(
        description="whether the test split is chosen. It then changes only if new images of its parts are added"
    )
    unchangeable: str | None = Field(
        description="why these images cannot be changed here; null: they can be changed"
    )
    problems: list[str] = Field(description="why some images are not shown, or have no label")


class ImagesShown(BaseModel):
    """All images of a product, sorted by file."""

    state: str
    images: list[ImageShown]


class AddQuery(Query):
    name: Annotated[str, Field(max_length=1000)] = Field(
        "", description="file name, with its folders if there are any"
    )
    modified: float | None = Field(
        None,
        ge=0,
        le=1e11,
        description="when the file was written, in seconds since 1970; kept with the image",
    )


class AddedShown(BaseModel):
    """The result for one image."""

    state: Literal["added", "there"] = Field(
        description="there: an image with the same content exists already; it is this one"
    )
    image: ImageShown


class SeenImages(BaseModel, extra="forbid"):
    images: list[SeenImage] = Field(min_length=1, max_length=MOST_AT_ONCE)


class LabelBody(SeenImages):
    label: Literal["ok", "defective"]
    types: list[Words] = Field(
        [], max_length=16, description="types of the defects; without one it is 'defective'"
    )


class PartBody(SeenImages):
    part: Words = Field(
        description="images of one part stay in one split; empty: each image is a separate part"
    )


class MoveBody(SeenImages):
    to: Literal["bin", "challenge", "train", "back"] = Field(
        description="bin; challenge: the known defects; train: known defects back to train; back: from the bin to where it was"
    )


class ChangedImage(BaseModel):
    before: File = Field(description="its file before")
    image: ImageShown


class ChangedShown(BaseModel):
    """The images as they are now."""

    images: list[ChangedImage]
    to_test: int = Field(description="how many of them went to the test split, because their part is there")


class ChangedCount(BaseModel):
    """How many images were changed."""

    images: int
    to_test: int = Field(description="how many of them went to the test split, because their part is there")


@images_of_product_api.get(
    "/data", summary="Count the images of a product", tags=[DATA], responses={200: DataShown, **FAILURES}
)
def count_images() -> Response:
    images = project().images
    listed = images.listed()
    places = {place: _counted(list(listed.at(place))) for place in PLACES}
    return as_json(
        DataShown(
            product=images.config.product,
            state=listed.state,
            frozen=places["test"].images > 0,
            unchangeable=images.why_unchangeable,
            problems=[*listed.problems, *listed.notes],
            **places,
        )
    )


def _counted(found: list[ProductImage]) -> PlaceShown:
    labels = Counter(one.label for one in found)
    parts = len({one.part or one.file for one in found})
    types = Counter(name for one in found for name in one.types)
    return PlaceShown(
        images=len(found),
        ok=labels["ok"],
        defective=labels["defective"],
        parts=parts,
        types=dict(types.most_common()),
    )


@images_of_product_api.get(
    "/data/images",
    summary="List the images of a product",
    tags=[DATA],
    responses={200: ImagesShown, **FAILURES},
)
def list_images() -> Response:
    listed: ListedImages = project().images.listed()
    shown = [ImageShown.of(listed.images[file]) for file in sorted(listed.images)]
    return as_json(ImagesShown.model_construct(state=listed.state, images=shown))


@images_of_product_api.post(
    "/data/images",
    summary="Add an image, which then waits for a label",
    tags=[DATA],
    responses={200: AddedShown, **FAILURES, **{status: described(status) for status in (400, 413, 415)}},
    openapi_extensions={
        "requestBody": {
            "description": "an image file",
            "required": True,
            "content": {kind: {"schema": BINARY} for kind in IMAGE_TYPES},
        }
    },
)
def add(query: AddQuery) -> Response:
    product = project()
    if request.mimetype and request.mimetype not in IMAGE_TYPES:
        raise UnsupportedMediaType(
            f"expected an image as the body, with the Content-Type {', '.join(IMAGE_TYPES)}, received {request.mimetype}"
        )
    content = request.get_data(cache=False)
    if not content:
        raise BadRequest(f"{query.name[:200] or 'image'}: an empty file (0 bytes)")
    limits = Limits.of(product.config.data)
    added = add_one(product, limits, query.name, content, caller().name, query.modified)
    return as_json(AddedShown(state=added.state, image=ImageShown.of(added.image)))


def add_one(
    product: Project, limits: Limits, name: str, content: bytes, by: str, modified: float | None
) -> Added:
    """Add an image once its turn to be decoded has come. Raises as `add_image`."""
    with product.predicting.turns.taking(check_image(content, limits), "full"):
        return add_image(product.images, name, content, by, modified)


@images_of_product_api.post(
    "/data/label", summary="Label images", tags=[DATA], responses={200: ChangedShown, **FAILURES}
)
def label(body: LabelBody) -> Response:
    return changed(label_images(project().images, _seen(body), body.label, body.types, caller().name))


@images_of_product_api.post(
    "/data/part", summary="Give images a part", tags=[DATA], responses={200: ChangedShown, **FAILURES}
)
def part(body: PartBody) -> Response:
    return changed(set_part(project().images, _seen(body), body.part, caller().name))


@images_of_product_api.post(
    "/data/move",
    summary="Move images to the bin and back, or to the known defects and back",
    tags=[DATA],
    responses={200: ChangedShown, **FAILURES},
)
def move(body: MoveBody) -> Response:
    to: ImagePlace | None = None if body.to == "back" else body.to
    return changed(move_images(project().images, _seen(body), to, caller().name))


def _seen(body: SeenImages) -> list[tuple[str, str]]:
    return [(one.file, one.tag) for one in body.images]


def changed(done: ChangedImages) -> Response:
    """Return the images as they are now."""
    shown = [
        ChangedImage.model_construct(before=before, image=ImageShown.of(one)) for before, one in done.images
    ]
    return as_json(ChangedShown.model_construct(images=shown, to_test=done.to_test))
