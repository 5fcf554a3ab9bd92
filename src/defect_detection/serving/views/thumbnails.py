"""``GET /data/thumbnail``: a small picture of an image of a product."""

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from werkzeug.exceptions import NotFound

from defect_detection.serving.of_product import project
from defect_detection.serving.strict import Query
from defect_detection.serving.views.data_failures import DATA, FAILURES, register_failures
from defect_detection.serving.views.images_of_product import File
from defect_detection.serving.views.prediction import BINARY
from defect_detection.use_cases.product_images import ProductImage, ProductImages
from defect_detection.use_cases.thumbnails import MEDIA_TYPE, thumbnail

thumbnails_api = APIBlueprint("thumbnails", __name__)
register_failures(thumbnails_api)


class ThumbnailQuery(Query):
    file: File


@thumbnails_api.get(
    "/data/thumbnail",
    summary="Show a small picture of an image",
    tags=[DATA],
    responses={
        200: {"description": "a picture of at most 128 px", "content": {MEDIA_TYPE: {"schema": BINARY}}},
        **FAILURES,
    },
)
def show_thumbnail(query: ThumbnailQuery) -> Response:
    images = project().images
    one = _found(images, query.file)
    try:
        content = thumbnail(images.path(one), images.hash_of(one), images.config)
    except FileNotFoundError:
        raise _no_such(query.file) from None
    return Response(content, content_type=MEDIA_TYPE)


def _found(images: ProductImages, file: str) -> ProductImage:
    one = images.listed().images.get(file)
    if one and not images.is_as_listed(one):
        one = images.listed().images.get(file)
    if one:
        return one
    raise _no_such(file)


def _no_such(file: str) -> NotFound:
    return NotFound(f"{file[:200]}: no such image here; GET /data/images lists them.")
