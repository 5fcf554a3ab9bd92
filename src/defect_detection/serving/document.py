"""Complete the generated OpenAPI document with the responses that several views share."""

from copy import deepcopy
from typing import Any

from flask_openapi3.openapi import OpenAPI
from pydantic import BaseModel

from defect_detection.serving.addresses import absolute
from defect_detection.serving.limits import FREE_OF_RATE
from defect_detection.serving.problems import described
from defect_detection.serving.routes import DESCRIBED, need_of, takes_product
from defect_detection.serving.services import services_of
from defect_detection.serving.strict import route_of
from defect_detection.serving.tensors import InferRequest

SECURITY: list[dict[str, list[Any]]] = [{}, {"bearer": []}, {"header": []}]  # {}: none, from this machine


def openapi_document(app: OpenAPI) -> dict[str, Any]:
    """Return the document of all views that are registered."""
    access = services_of(app).access
    document: dict[str, Any] = deepcopy(app.api_doc)  # the application keeps its own
    document["servers"] = [{"url": absolute("/")}]
    document["components"]["schemas"] |= _schemas(InferRequest)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            responses = operation["responses"]
            if takes_product(f"{method.upper()} {route_of(path, operation)}"):
                operation["parameters"] = [*operation.get("parameters", []), DESCRIBED]
                for status in (403, 404):  # a key that is bound to others, an unknown product
                    responses.setdefault(str(status), described(status))
            is_open = need_of(method.upper(), route_of(path, operation), access.opened) is None
            if not is_open:
                operation["security"] = SECURITY
            if _is_generated(responses.get("422", {})):
                del responses["422"]  # the framework adds it everywhere, in a shape that isn't ours
            for status in _common(path, operation, is_open):
                responses.setdefault(str(status), described(status))
    return document


def _schemas(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a body that a view parses, with its references."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs", {}), model.__name__: schema}


def _is_generated(response: dict[str, Any]) -> bool:
    return "application/json" in response.get("content", {})


def _common(path: str, operation: dict[str, Any], is_open: bool) -> list[int]:
    takes_values = bool(operation.get("parameters") or operation.get("requestBody"))
    is_limited = not path.startswith(FREE_OF_RATE)
    return [400, 413] + [401, 403] * (not is_open) + [422] * takes_values + [429] * is_limited
