"""``GET /inspections/{id}/evidence``: where the model that is served now sees the defect on an inspected image."""

from typing import Literal

import numpy as np
from flask import Response, current_app, request
from flask_openapi3.blueprint import APIBlueprint
from pydantic import BaseModel, Field

from defect_detection.inference.inspect import Inspection
from defect_detection.serving.access import require_access
from defect_detection.serving.predict import Predicting, ServedModel, inspect_within_limits
from defect_detection.serving.problems import described
from defect_detection.serving.records_api import (
    INSPECTIONS,
    SECURITY,
    InspectionPath,
    read_inspected_image,
)
from defect_detection.tracking.registry import ModelRef

evidence_api = APIBlueprint("evidence", __name__)


class EvidenceMap(BaseModel):
    """Where the defect is."""

    shape: list[int] = Field(description="rows and columns of the evidence map", examples=[[14, 14]])
    values: list[list[float]] = Field(
        description="log-odds of a defect in each cell, higher = more defective"
    )


class EvidenceNow(BaseModel):
    """What the model that is served now says about an inspected image; another one may have decided then."""

    id: str = Field(description="of the inspection")
    evidence: EvidenceMap
    verdict: Literal["ok", "defective", "review"] = Field(description="of the model that is served now")
    score: float = Field(description="P(defective)", ge=0, le=1)
    threshold: float = Field(description="from this score on an image is defective")
    model: ServedModel = Field(
        description="the model that is served now, which may differ from the one that decided: "
        "`model_name` and `model_version` of the inspection"
    )

    @classmethod
    def of(cls, inspection_id: str, inspection: Inspection, model: ModelRef) -> "EvidenceNow":
        seen = inspection.evidence
        assert seen is not None
        facts = {name: getattr(inspection, name) for name in ("verdict", "score", "threshold")}
        return cls(
            id=inspection_id,
            evidence=EvidenceMap(shape=list(seen.shape), values=np.round(seen, 3).tolist()),
            model=ServedModel(name=model.name, version=model.version, uri=model.model_uri),
            **facts,
        )


@evidence_api.get(
    "/inspections/<id>/evidence",
    summary="Say where the model that is served now sees the defect on an inspected image",
    description="The image is inspected anew, within the limits of POST /predict. That is neither recorded nor counted as an "
    "inspection, and what was decided stays.",
    tags=[INSPECTIONS],
    security=SECURITY,
    responses={
        200: EvidenceNow,
        **{status: described(status) for status in (401, 403, 404, 410, 415, 422, 503)},
    },
)
def evidence(path: InspectionPath) -> Response:
    require_access(request, "operator")
    content, _suffix = read_inspected_image(path.id)
    predicting: Predicting = current_app.extensions["predicting"]
    champion = predicting.served.current()
    inspection = inspect_within_limits(predicting, champion, content)
    shown = EvidenceNow.of(path.id, inspection, champion.reference)
    return Response(shown.model_dump_json(), content_type="application/json")
