"""``POST /predict``: images in, verdicts out."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import numpy as np
from flask import Response, abort, jsonify, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import ValidationError
from werkzeug.exceptions import ClientDisconnected, HTTPException, NotAcceptable, UnprocessableEntity

from defect_detection.data.bounds import Limits
from defect_detection.errors import ImageError
from defect_detection.inference.inspect import Inspection
from defect_detection.inference.overlay import overlay_png
from defect_detection.model.type_rule import types_json
from defect_detection.serving.callers import sender, shows
from defect_detection.serving.champion import LoadedChampion
from defect_detection.serving.of_product import project_of_form
from defect_detection.serving.predicting import Predicting
from defect_detection.serving.problems import described, problem_of, problem_of_values
from defect_detection.serving.services import services
from defect_detection.serving.uploads import check_image, take_images
from defect_detection.serving.views.prediction import (
    NOTHING,
    REQUEST_BODY,
    Answer,
    BoxShown,
    Evidence,
    Explain,
    Prediction,
    PredictQuery,
    ServedModel,
    TypeShown,
)

INSPECTION = Tag(name="inspection", description="Inspect images")


predict_api = APIBlueprint("predict", __name__)


@dataclass(frozen=True, slots=True)
class _Seen:
    """An inspection, with its overlay as PNG where it is to be shown."""

    id: str
    name: str
    inspection: Inspection
    champion: LoadedChampion
    overlay: bytes | None


@predict_api.post(
    "/predict",
    summary="Inspect one or more images",
    tags=[INSPECTION],
    responses={
        200: Answer,
        **{status: described(status) for status in (403, 404, 406, 413, 415, 422, 429, 503)},
    },
    openapi_extensions={"requestBody": REQUEST_BODY},
)
def predict(query: PredictQuery) -> Response:
    uploads = take_images(request, services().config.serving.max_images)
    predicting = project_of_form().predicting
    champion = predicting.served.current()
    asked = _with_form(query)
    as_picture = _wants_picture(len(uploads))
    limits = predicting.limits_for(request.content_length or 0)
    with_overlay = as_picture or asked.explain in ("1", "true", "overlay")
    look = _looker(predicting, champion, limits, _context(asked), with_overlay)
    if len(uploads) == 1:
        seen = look(uploads[0].name, uploads[0].read())
        if as_picture:
            return _picture(seen)
        return jsonify(_of_one(_for_caller(_prediction(seen, asked.explain).model_dump())))
    contents = ((upload.name, upload.read()) for upload in uploads)
    results = predicting.each(
        limits, lambda name, content: _result(look, name, content, asked.explain), contents
    )
    return jsonify(NOTHING | {"results": [_for_caller(result.model_dump()) for result in results]})


def _for_caller(result: dict[str, Any]) -> dict[str, Any]:
    """Leave the threshold out where the caller may not know it: see ``serving.public``."""
    return result if shows("models") else result | {"threshold": None}


def _of_one(result: dict[str, Any]) -> dict[str, Any]:
    """Return the response for one image: its result at the top level and in `results`, the overlay only at the top level."""
    evidence = result["evidence"] and result["evidence"] | {"overlay_png": None}
    return result | {"results": [result | {"evidence": evidence}]}


def _wants_picture(n_images: int) -> bool:
    best = request.accept_mimetypes.best_match(["application/json", "image/png"], "application/json")
    if best == "image/png" and n_images > 1:
        raise NotAcceptable(
            "An overlay is only available for a single image: send 'Accept: application/json' for several images."
        )
    return best == "image/png"


def _with_form(query: PredictQuery) -> PredictQuery:
    """Return the parameters of the query and of the form."""
    if not request.form:
        return query
    try:
        return PredictQuery.model_validate(query.model_dump(exclude_unset=True) | request.form.to_dict())
    except ValidationError as error:
        abort(problem_of_values(error))


def _context(asked: PredictQuery) -> dict[str, str]:
    return {name: getattr(asked, name) for name in ("group", "line", "station", "part")} | sender()


def _looker(
    predicting: Predicting,
    champion: LoadedChampion,
    limits: Limits,
    context: dict[str, str],
    with_overlay: bool,
) -> Callable[[str, bytes], _Seen]:
    def look(name: str, content: bytes) -> _Seen:
        inspection = predicting.inspect(champion, content, limits)
        shown = _overlay(predicting, champion, content, inspection, limits) if with_overlay else None
        kept_as = predicting.keep(inspection, champion, content, context, name)
        return _Seen(kept_as, name, inspection, champion, shown)

    return look


def _overlay(
    predicting: Predicting, champion: LoadedChampion, content: bytes, inspection: Inspection, limits: Limits
) -> bytes:
    """Decode once more, in full: only who asks for a picture pays for it."""
    bit_depth, pages = champion.inspector.card.bit_depth, predicting.pages
    with predicting.turns.taking(check_image(content, limits), "full"):
        try:
            return overlay_png(content, inspection, bit_depth=bit_depth, limits=limits, pages=pages)
        except ImageError as error:
            raise UnprocessableEntity(f"the overlay was not drawn: {error}") from None


def _result(look: Callable[[str, bytes], _Seen], name: str, content: bytes, explain: Explain) -> Prediction:
    try:
        return _prediction(look(name, content), explain)
    except ClientDisconnected:
        raise
    except HTTPException as error:
        return Prediction(name=name, error=problem_of(error))


def _prediction(seen: _Seen, explain: Explain) -> Prediction:
    inspection, reference = seen.inspection, seen.champion.reference
    return Prediction.model_construct(
        id=seen.id,
        name=seen.name,
        verdict=inspection.verdict,
        score=inspection.score,
        score_is=inspection.score_is,
        threshold=inspection.threshold,
        reason=inspection.reason,
        novelty=inspection.novelty,
        model=ServedModel.model_construct(
            name=reference.name, version=reference.version, uri=reference.model_uri
        ),
        latency_ms=round(inspection.latency_ms, 2),
        page=inspection.page,
        pages=inspection.pages,
        **_types(inspection),
        image_size=list(inspection.size or ()),
        boxes=BoxShown.all_of(inspection.boxes),
        ignored_boxes=inspection.boxes.ignored,
        evidence=_evidence(seen, explain),
        error=None,
    )


def _types(inspection: Inspection) -> dict[str, Any]:
    found = types_json(inspection.types)
    return found | {"defect_types": [TypeShown.model_construct(**one) for one in found["defect_types"]]}


def _evidence(seen: _Seen, explain: Explain) -> Evidence | None:
    evidence = seen.inspection.evidence
    extent = seen.inspection.extent
    if explain in ("0", "false") or evidence is None or extent is None:
        return None
    shape, shares = list(evidence.shape), extent.shares
    if explain == "array":
        values = np.round(evidence, 3).tolist()
        return Evidence.model_construct(shape=shape, extent=shares, values=values, overlay_png=None)
    png = base64.b64encode(seen.overlay or b"").decode()
    return Evidence.model_construct(shape=shape, extent=shares, values=None, overlay_png=png)


def _picture(seen: _Seen) -> Response:
    """Return the overlay itself, the rest in headers."""
    answer: dict[str, Any] = {
        "X-Inspection-Id": seen.id,
        "X-Verdict": seen.inspection.verdict,
        "X-Score": f"{seen.inspection.score:.6f}",
        "X-Model": seen.champion.reference.model_uri,
    }
    if shows("models"):
        answer["X-Threshold"] = f"{seen.inspection.threshold:.6f}"
    if seen.inspection.reason:
        answer["X-Reason"] = seen.inspection.reason
    return Response(seen.overlay, HTTPStatus.OK, answer, content_type="image/png")
