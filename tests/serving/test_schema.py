"""Schemathesis sends valid and invalid requests to every operation of the OpenAPI document, with all checks."""

import base64
import io
import json
import re
from functools import partial

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from tiny import BRIGHT, DARK, encoded, write_tiny_bundle

from defect_detection.config import load_config
from defect_detection.inference.inspect import Inspector
from defect_detection.serving.app import create_app
from defect_detection.serving.services import services_of
from defect_detection.serving.views.prediction import IMAGE_TYPES
from defect_detection.tracking.reading import ModelRef

REFUSED = [
    "400",
    "403",
    "404",
    "405",
    "406",
    "409",
    "413",
    "415",
    "422",
]  # a body with too many images may be too long too
IMAGES = st.sampled_from([encoded(pixels, form) for pixels in (DARK, BRIGHT) for form in ("PNG", "JPEG")])
KEY = "a key of sixteen characters"
POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
MODEL = ModelRef("Production_Reg", 3, "run", {})
TAKEN = ["2xx", "404", "409", "422"]  # with a key, nothing is answered with 401 or 403
# A request that is right by its form may be refused for what the product has, such as the free space of the disk
BY_STATE = {
    "POST /data/archives",
    "POST /data/archives/{id}",
    "POST /data/archives/{id}/unpack",
    "POST /data/label",
    "GET /data/split",
    "POST /data/split",
    "POST /products",
    "POST /settings",
}
BY_FORM = re.compile(
    "unknown (key|query parameter|form field)|(Input|String|Field|List|Value|Extra inputs) |expected a number"
)
BOUNDED = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    root = tmp_path_factory.mktemp("schema")
    bundle = write_tiny_bundle(root / "bundle")
    (root / "config.yaml").write_text("training: {hyperparameter_sets: [{name: only}]}\n")
    load = partial(Inspector.load, bundle)
    config = load_config(root / "config.yaml", [f"serving.api_key={KEY}"])
    app = create_app(config, lambda: MODEL, lambda _: load())
    schemathesis.openapi.format("binary", IMAGES)
    for media_type in IMAGE_TYPES:
        schemathesis.openapi.media_type(media_type, IMAGES)
    checks = {
        "negative_data_rejection": {"expected-statuses": REFUSED},
        "positive_data_acceptance": {"expected-statuses": TAKEN},
    }
    yield schemathesis.openapi.from_wsgi(
        "/openapi.json", app, config=SchemathesisConfig.from_dict({"checks": checks})
    )
    services_of(app).served.stop()


@pytest.fixture(scope="module")
def known(schema):
    """Return values of paths for which there is an answer."""
    image = {"image": (io.BytesIO(encoded(DARK)), "a.png")}
    answer = schema.app.test_client().post("/predict", data=image, headers={"X-API-Key": KEY})
    services_of(schema.app).records.recorder.flush(10)
    return {"id": answer.json["results"][0]["id"], "name": MODEL.name, "version": str(MODEL.version)}


def test_what_the_document_does_not_allow_is_refused_as_it_says(schema):
    # first, as the next test leaves products that have no model
    operations = [operation for operation in operations_of(schema) if takes_values(operation)]
    for operation in operations:
        call_and_check(operation, NEGATIVE, {})
    assert len(operations) >= 7


def test_what_the_document_allows_is_answered_as_it_says(schema, known):
    operations = list(operations_of(schema))
    succeed = [
        one for one in operations if any(status < 300 for status in call_and_check(one, POSITIVE, known))
    ]
    assert len(operations) == 55  # all but the exchange of a link, which has no answer without one
    assert len(succeed) >= 36  # the others have no such job, report, archive or image


def test_each_body_and_each_model_says_all_there_is_of_it(schema):
    schemas = schema.raw_schema["components"]["schemas"]
    bodies = bodies_of(schema.raw_schema)
    opened = [name for name in bodies if schemas[name].get("additionalProperties") is not False]
    assert (opened, len(bodies) >= 15) == ([], True)
    names = [model.__name__ for model in models_below(BaseModel) if ".serving." in model.__module__]
    assert sorted(names) == sorted(set(names))  # the document has one schema for each name


def test_one_more_key_is_refused_in_each_body(schema):
    client, operations = schema.app.test_client(), list(schema.get_all_operations())
    takers = [one.ok() for one in operations if not one.ok().path.startswith("/v2")]
    takers = [one for one in takers if any(body.media_type == "application/json" for body in one.body)]
    for one in takers:
        path = re.sub("{\\w+}", "1", one.path)
        answer = client.post(path, json={"surplus": 1}, headers={"X-API-Key": KEY})
        assert (answer.status_code, "unknown key 'surplus'" in answer.text) == (422, True), one.label
    assert len(takers) >= 12


def bodies_of(document) -> set[str]:
    """Return the names of the schemas of JSON bodies, with those inside them. Below /v2 clients may add keys."""
    items = [item for path, item in document["paths"].items() if not path.startswith("/v2")]
    bodies = [one.get("requestBody") for item in items for one in item.values()]
    found, left = set(), references(bodies)
    while left := left - found:
        found |= left
        left = references([document["components"]["schemas"][name] for name in left])
    return found


def references(node) -> set[str]:
    return set(re.findall(r"#/components/schemas/(\w+)", json.dumps(node)))


def models_below(model):
    for one in model.__subclasses__():
        yield one
        yield from models_below(one)


def operations_of(schema):
    """Yield all but those that start a process, which have tests of their own."""
    own = ["/access/page", "/retrain", "/models/{version}/promote", "/models/rollback"]
    return (result.ok() for result in schema.exclude(path=own).get_all_operations())


def takes_values(operation) -> bool:
    return bool(operation.body) or bool(operation.query) or bool(operation.path_parameters)


def make_fit(case, known: dict[str, str]) -> None:
    """Change what no schema can say: names that count once, the end of a period, images that have their shape beside them."""
    form = case.body if case.media_type == "multipart/form-data" else {}
    left_out = {"product", "cursor", *form, *["name"] * bool(form)}  # the product is the one that is there
    left_out |= {"since"} if case.operation.path.startswith("/statistics") else set()
    case.query = {name: value for name, value in (case.query or {}).items() if name not in left_out}
    if case.operation.path.startswith(("/inspections", "/v2")):
        case.path_parameters = {name: known[name] for name in case.path_parameters}
    if case.operation.path.endswith("/infer"):
        data = base64.b64encode(encoded(DARK)).decode()
        fit = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [data]}]}
        case.body = case.body | fit if isinstance(case.body, dict) else json.dumps(fit).encode()


def call_and_check(operation, mode: GenerationMode, known: dict[str, str]) -> list[int]:
    """Return the statuses of the answers."""
    statuses = []

    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case):
        if mode is POSITIVE:
            make_fit(case, known)
        has_wrong_body = is_wrong_in_body(case)
        if has_wrong_body:
            case.query = {name: value for name, value in (case.query or {}).items() if name != "product"}
        answer = case.call_and_validate(headers={"X-API-Key": KEY})
        statuses.append(answer.status_code)
        if mode is POSITIVE:
            assert answer.status_code not in (401, 403)
            assert answer.status_code != 422 or is_by_state(operation.label, answer.text)
        assert not has_wrong_body or answer.status_code not in (404, 409), (
            operation.label,
            case.body,
            answer.text,
        )

    check()
    return statuses


def is_wrong_in_body(case) -> bool:
    body = case.meta.components.get(ParameterLocation.BODY)
    is_json = case.media_type == "application/json" and not case.path_parameters
    return bool(is_json and body and body.mode is NEGATIVE)


def is_by_state(operation: str, answer: str) -> bool:
    return operation in BY_STATE and not BY_FORM.search(answer)
