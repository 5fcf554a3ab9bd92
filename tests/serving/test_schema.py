"""Schemathesis sends valid and invalid requests to every operation of the OpenAPI document, with all checks."""

import base64
from functools import partial

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
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
BOUNDED = settings(
    max_examples=8,
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
    app = create_app(config, lambda: ModelRef("Production_Reg", 3, "run", {}), lambda _: load())
    schemathesis.openapi.format("binary", IMAGES)
    for media_type in IMAGE_TYPES:
        schemathesis.openapi.media_type(media_type, IMAGES)
    checks = {"negative_data_rejection": {"expected-statuses": REFUSED}}
    yield schemathesis.openapi.from_wsgi(
        "/openapi.json", app, config=SchemathesisConfig.from_dict({"checks": checks})
    )
    services_of(app).served.stop()


def test_what_the_document_allows_is_answered_as_it_says(schema):
    operations = list(operations_of(schema))
    for operation in operations:
        call_and_check(operation, GenerationMode.POSITIVE)
    assert len(operations) == 55  # all but the exchange of a link, which has no answer without one


def test_what_the_document_does_not_allow_is_refused_as_it_says(schema):
    operations = [operation for operation in operations_of(schema) if takes_values(operation)]
    for operation in operations:
        call_and_check(operation, GenerationMode.NEGATIVE)
    assert len(operations) >= 7


def operations_of(schema):
    """Yield all but those that start a process, which have tests of their own."""
    own = ["/access/page", "/retrain", "/models/{version}/promote", "/models/rollback"]
    return (result.ok() for result in schema.exclude(path=own).get_all_operations())


def takes_values(operation) -> bool:
    return bool(operation.body) or bool(operation.query) or bool(operation.path_parameters)


def leave_out_twice(case) -> None:
    """Take out of the query what the form says: no schema can say that it may be in one of them."""
    case.query = {name: value for name, value in case.query.items() if name not in {*case.body, "name"}}


def make_data_fit(case) -> None:
    """Send one image: no schema can say that the data have the shape that stands beside them."""
    data = base64.b64encode(encoded(DARK)).decode()
    case.body["inputs"] = [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [data]}]


def call_and_check(operation, mode: GenerationMode) -> None:
    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case):
        if mode is GenerationMode.POSITIVE and case.media_type == "multipart/form-data":
            leave_out_twice(case)
        if mode is GenerationMode.POSITIVE and isinstance(case.body, dict) and "inputs" in case.body:
            make_data_fit(case)
        # What the document does not allow is looked at behind the key: without it all is refused with 401.
        case.call_and_validate(headers={"X-API-Key": KEY} if mode is GenerationMode.NEGATIVE else None)

    check()
