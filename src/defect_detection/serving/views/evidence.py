"""Views of a recorded image: ``…/evidence``, the evidence map of the served model, and ``…/preview``, a PNG."""

from typing import Literal

import numpy as np
from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from pydantic import BaseModel, Field
from werkzeug.exceptions import NotFound, UnprocessableEntity

from defect_detection.data.decoders import MOST_PAGES
from defect_detection.errors import ImageError
from defect_detection.inference.inspect import Inspection
from defect_detection.inference.overlay import MOST_PREVIEW, PreviewPng, preview_png
from defect_detection.serving.of_product import predicting_for, project_of
from defect_detection.serving.predicting import Predicting
from defect_detection.serving.problems import described
from defect_detection.serving.strict import Query
from defect_detection.serving.uploads import check_image
from defect_detection.serving.views.prediction import BoxShown, ServedModel
from defect_detection.serving.views.records import (
    INSPECTIONS,
    InspectionPath,
    find_recorded,
    read_image,
)
from defect_detection.tracking.reading import ModelRef

evidence_api = APIBlueprint("evidence", __name__)


class EvidenceMap(BaseModel):
    """Where the defect is."""

    shape: list[int] = Field(description="rows and columns of the evidence map", examples=[[14, 14]])
    extent: list[float] = Field(
        description="left, top, width and height of the rectangle that the map covers, in fractions of the upright image",
        examples=[[0, 0, 1, 1]],
    )
    values: list[list[float]] = Field(
        description="log-odds of a defect in each cell; higher means more defective"
    )


class EvidenceNow(BaseModel):
    """The result of the served model for a recorded image. The recorded verdict may come from another model."""

    id: str = Field(description="of the inspection")
    evidence: EvidenceMap
    image_size: list[int] = Field(description="width and height of the upright image in pixels")
    boxes: list[BoxShown] = Field(description="where the served model sees defects, strongest first")
    defect_type: str | None = Field(
        None, description="the strongest type of defect by the served model; absent if it names none"
    )
    verdict: Literal["ok", "defective", "review"] = Field(description="of the model that is served now")
    score: float = Field(description="P(defective)", ge=0, le=1)
    threshold: float = Field(description="an image is defective when score >= threshold")
    page: int = Field(description="the page that decided, counted from 1")
    reason: str | None = Field(
        None, description="how the image differs from the training images; absent if it does not"
    )
    model: ServedModel = Field(
        description="the model that is served now; the recorded verdict may come from another model (`model_name` and "
        "`model_version` of the inspection)"
    )

    @classmethod
    def of(cls, inspection_id: str, inspection: Inspection, model: ModelRef) -> "EvidenceNow":
        seen, extent = inspection.evidence, inspection.extent
        assert seen is not None and extent is not None
        facts = {
            name: getattr(inspection, name)
            for name in ("verdict", "score", "threshold", "page", "reason", "defect_type")
        }
        return cls(
            id=inspection_id,
            evidence=EvidenceMap(
                shape=list(seen.shape), extent=extent.shares, values=np.round(seen, 3).tolist()
            ),
            image_size=list(inspection.size or ()),
            boxes=BoxShown.all_of(inspection.boxes),
            model=ServedModel(name=model.name, version=model.version, uri=model.model_uri),
            **facts,
        )


class PreviewQuery(Query):
    """Which page."""

    page: int = Field(
        1, ge=1, le=MOST_PAGES, description="page of a file with several pages (data.pages: all)"
    )


@evidence_api.get(
    "/inspections/<id>/preview",
    summary="Return a recorded image as PNG, for formats that browsers cannot show, such as TIFF",
    description=f"Upright, as the model sees it, at most {MOST_PREVIEW} px on the longer side. The header `Image-Size` has the width "
    "and the height of the original image in pixels. The boxes of the inspection are in these pixels.",
    tags=[INSPECTIONS],
    responses={
        200: {"description": "the picture", "content": {"image/png": {}}},
        **{status: described(status) for status in (401, 403, 404, 410, 413, 415, 422, 429, 503)},
    },
)
def preview(path: InspectionPath, query: PreviewQuery) -> Response:
    found = find_recorded(path.id)
    predicting = predicting_for(found.inspected.product)
    content, _suffix = read_image(found)
    png, (width, height) = _preview(predicting, content, query.page)
    return Response(png, content_type="image/png", headers={"Image-Size": f"{width} {height}"})


def _preview(predicting: Predicting, content: bytes, number: int) -> PreviewPng:
    champion = predicting.served.loaded
    bit_depth = champion.inspector.card.bit_depth if champion else None
    limits, pages = predicting.limits_for(len(content)), predicting.pages
    with predicting.turns.taking(check_image(content, limits), "full"):
        try:
            shown = preview_png(content, number, bit_depth=bit_depth, limits=limits, pages=pages)
        except ImageError as error:
            raise UnprocessableEntity(str(error)) from None
    if shown is None:
        raise NotFound(f"page: {number} does not exist, or data.pages: {pages} leaves it out")
    return shown


@evidence_api.get(
    "/inspections/<id>/evidence",
    summary="Return the evidence map of a recorded image, by the model that is served now",
    description="The image is inspected again, within the limits of POST /predict. This is neither recorded nor counted as "
    "an inspection, and the recorded verdict stays.",
    tags=[INSPECTIONS],
    responses={
        200: EvidenceNow,
        **{status: described(status) for status in (401, 403, 404, 410, 415, 422, 503)},
    },
)
def evidence(path: InspectionPath) -> Response:
    found = find_recorded(path.id)
    content, _suffix = read_image(found)
    predicting = project_of(found.inspected.product).predicting
    champion = predicting.served.current()
    inspection = predicting.inspect(champion, content, predicting.limits_for(len(content)))
    shown = EvidenceNow.of(path.id, inspection, champion.reference)
    return Response(shown.model_dump_json(exclude_none=True), content_type="application/json")
