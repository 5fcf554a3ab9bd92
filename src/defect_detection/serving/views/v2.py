"""The Open Inference Protocol, version 2, over HTTP, for clients of other model servers.

The model takes one input, ``image``: BYTES of shape [n], encoded images (in base64 within JSON), or UINT8 of shape
[n, height, width, 3], RGB. It gives ``score``, ``verdict`` and, when asked for, ``reason`` (how an image is
unlike the training images; else empty), ``evidence``, ``defect_type`` (else empty), ``defect_types`` and ``boxes`` (JSON
lists as ``POST /predict`` has them).
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import numpy as np
from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel, Field
from werkzeug.exceptions import HTTPException, NotFound

from defect_detection import __version__
from defect_detection.errors import DefectDetectionError
from defect_detection.inference.inspect import Inspection
from defect_detection.serving.answer import as_json
from defect_detection.serving.callers import sender
from defect_detection.serving.champion import LoadedChampion
from defect_detection.serving.of_product import allowed, project_of
from defect_detection.serving.predicting import Predicting
from defect_detection.serving.problems import described, for_caller, problem
from defect_detection.serving.products import Project
from defect_detection.serving.services import services
from defect_detection.serving.tensors import (
    LENGTH_HEADER,
    Output,
    encoded_answer,
    outputs_of,
    read_images,
)

PROTOCOL = Tag(
    name="open inference protocol",
    description="Version 2, as in Triton, KServe and OpenVINO Model Server",
)
EXAMPLE: dict[str, Any] = {
    "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["iVBORw0KGgo…"]}],
    "outputs": [{"name": "score"}, {"name": "verdict"}],
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/InferRequest"}, "example": EXAMPLE},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
}

v2_api = APIBlueprint("v2", __name__, url_prefix="/v2")


class ServerLive(BaseModel):
    live: bool


class ServerReady(BaseModel):
    ready: bool


class ServerMetadata(BaseModel):
    name: str
    version: str
    extensions: list[str]


class Tensor(BaseModel):
    name: str
    datatype: str
    shape: list[int] = Field(description="-1: any number")


class ModelMetadata(BaseModel):
    name: str
    versions: list[str]
    platform: str
    inputs: list[Tensor]
    outputs: list[Tensor]


class ModelReady(BaseModel):
    name: str
    ready: bool


class InferOutput(Tensor):
    data: list[Any] | None = Field(
        None, description="in row-major order; absent if it follows as binary data"
    )
    parameters: dict[str, Any] | None = None


class InferResponse(BaseModel):
    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[InferOutput]


class ModelPath(BaseModel):
    name: str = Field(description="the registered model that is served", max_length=256)


class ModelVersionPath(ModelPath):
    version: str = Field(description="the version that is served", max_length=20)


@v2_api.get("", summary="Describe the server", tags=[PROTOCOL], responses={200: ServerMetadata})
def server_metadata() -> Response:
    return as_json(
        ServerMetadata(name="defect-detection", version=__version__, extensions=["binary_tensor_data"])
    )


@v2_api.get(
    "/health/live", summary="Report that the process is running", tags=[PROTOCOL], responses={200: ServerLive}
)
def server_live() -> Response:
    return as_json(ServerLive(live=True))


@v2_api.get(
    "/health/ready",
    summary="Report whether predictions can be made and recorded",
    tags=[PROTOCOL],
    responses={200: ServerReady, 503: described(503)},
)
def server_ready() -> Response:
    try:
        services().readiness.check()
    except DefectDetectionError as error:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, for_caller(str(error)))
    return as_json(ServerReady(ready=True))


_MODEL: dict[str | int, Any] = {status: described(status) for status in (403, 404, 503)}


@v2_api.get(
    "/models/<name>",
    summary="Describe inputs and outputs",
    tags=[PROTOCOL],
    responses={200: ModelMetadata, **_MODEL},
)
def model_metadata(path: ModelPath) -> Response:
    return _metadata(_asked_for(path.name))


@v2_api.get(
    "/models/<name>/versions/<version>",
    summary="Describe inputs and outputs of the version",
    tags=[PROTOCOL],
    responses={200: ModelMetadata, **_MODEL},
)
def version_metadata(path: ModelVersionPath) -> Response:
    return _metadata(_asked_for(path.name, path.version))


@v2_api.get(
    "/models/<name>/ready",
    summary="Report whether the model is loaded",
    tags=[PROTOCOL],
    responses={200: ModelReady, **_MODEL},
)
def model_ready(path: ModelPath) -> Response:
    return as_json(ModelReady(name=_asked_for(path.name).reference.name, ready=True))


@v2_api.get(
    "/models/<name>/versions/<version>/ready",
    summary="Report whether the version is loaded",
    tags=[PROTOCOL],
    responses={200: ModelReady, **_MODEL},
)
def version_ready(path: ModelVersionPath) -> Response:
    return as_json(ModelReady(name=_asked_for(path.name, path.version).reference.name, ready=True))


_INFER: dict[str, Any] = {
    "tags": [PROTOCOL],
    "responses": {200: InferResponse, **_MODEL, **{status: described(status) for status in (403, 415, 422)}},
    "openapi_extensions": BODY,
}


@v2_api.post("/models/<name>/infer", summary="Inspect images", **_INFER)
def infer(path: ModelPath) -> Response:
    return _infer(_asked_for(path.name))


@v2_api.post("/models/<name>/versions/<version>/infer", summary="Inspect images with the version", **_INFER)
def version_infer(path: ModelVersionPath) -> Response:
    return _infer(_asked_for(path.name, path.version))


def _asked_for(name: str, version: str | None = None) -> LoadedChampion:
    champion = _project_of(name).served.current()
    served = champion.reference
    if name != served.name or version not in (None, str(served.version)):
        asked = name if version is None else f"{name} version {version}"
        raise NotFound(f"{asked} is not served here; {served} is.")
    return champion


def _project_of(name: str) -> Project:
    """Return the product whose registered model has a name; the default one for all others."""
    products = services().products
    _, dot, product = name.rpartition(".")
    if (
        dot
        and products.has_records(product)
        and (found := project_of(product)).config.inference_model_name == name
    ):
        return found
    allowed(products.default.name)
    return products.default


def _metadata(champion: LoadedChampion) -> Response:
    height, width = champion.inspector.card.frame.size
    return as_json(
        ModelMetadata(
            name=champion.reference.name,
            versions=[str(champion.reference.version)],
            platform="openvino",
            inputs=[Tensor(name="image", datatype="UINT8", shape=[-1, height, width, 3])],
            outputs=[
                Tensor(name="score", datatype="FP32", shape=[-1]),
                Tensor(name="verdict", datatype="BYTES", shape=[-1]),
                Tensor(name="reason", datatype="BYTES", shape=[-1]),
                Tensor(name="evidence", datatype="FP32", shape=[-1, -1, -1]),
                *(
                    Tensor(name=name, datatype="BYTES", shape=[-1])
                    for name in ("boxes", "defect_type", "defect_types")
                ),
            ],
        )
    )


def _infer(champion: LoadedChampion) -> Response:
    predicting = _project_of(champion.reference.name).predicting
    asked, images = read_images(request, champion.inspector.card.frame.size, predicting.max_images)
    inspections = _inspect_several(predicting, champion, images)
    outputs: list[Output] = outputs_of(asked, inspections)
    body, length = encoded_answer(asked, champion.reference, outputs)
    response = Response(body, content_type="application/json")
    if length is not None:
        response.headers[LENGTH_HEADER] = str(length)
        response.content_type = "application/octet-stream"
    return response


def _inspect_several(
    predicting: Predicting, champion: LoadedChampion, images: Sequence[bytes] | Sequence[np.ndarray]
) -> list[Inspection]:
    """Inspect images at the same time, count and record what was sent encoded, and return their inspections in order.

    Raises:
        HTTPException: names the image, counted from 0, that cannot be inspected, and the reason.
    """
    sent_by = sender()
    limits = predicting.limits_for(request.content_length or 0)

    def look(number: int, image: bytes | np.ndarray) -> Inspection:
        try:
            inspection = predicting.inspect(champion, image, limits)
        except HTTPException as error:
            error.description = f"image {number}: {error.description}"
            raise
        if isinstance(image, bytes):
            predicting.keep(inspection, champion, image, sent_by)
        else:
            predicting.count(inspection, champion)
        return inspection

    if len(images) == 1:
        return [look(0, images[0])]
    return list(predicting.each(limits, look, enumerate(images)))
