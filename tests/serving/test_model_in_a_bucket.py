"""A model whose files lie in object storage: registered, promoted and served through an MLflow server that alone can reach it.

The server's client of object storage lies in a folder of its own (``make boto3``), because it refuses versions that this package uses.
Without that the test is skipped with the reason, or fails when ``REQUIRE_BOTO3=1``, as ``.ci/run`` sets it.
"""

import logging
import os
from pathlib import Path

import pytest
from mlflow_server import mlflow_server
from object_storage import KEY, SECRET, use
from tiny import DARK, encoded, write_tiny_bundle

from defect_detection.scaling import storage as bucket_of
from defect_detection.serving.app import create_app
from defect_detection.serving.services import services_of
from defect_detection.tracking.registry import Registry
from defect_detection.tracking.runs import ExperimentRecorder
from defect_detection.use_cases.by_hand import promote

TESTED = {"test_correct": "198/200 (99.0 %)", "test_escapes": "1/100 (1.0 %)"}
BOTO3 = Path(__file__).parents[2] / "build/boto3"


@pytest.fixture
def client_of_storage() -> Path:
    if not (BOTO3 / ".installed").exists():
        say = pytest.fail if os.environ.get("REQUIRE_BOTO3") == "1" else pytest.skip
        say("boto3 is not installed: make boto3")
    return BOTO3


def test_a_model_in_a_bucket_is_registered_promoted_and_served_and_no_credentials_are_told(
    client_of_storage, storage, project, plain_environment, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.DEBUG)
    with pytest.MonkeyPatch.context() as patch:
        use(patch, storage)
        patch.setenv("PYTHONPATH", str(client_of_storage))
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        names = ("PYTHONPATH", *(name for name in os.environ if name.startswith("AWS_")))
        environment = plain_environment | {name: os.environ[name] for name in names}
    address = f"s3://tests/{tmp_path.name}"
    with mlflow_server(tmp_path, environment, address) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        registry, bundle = Registry(uri), write_tiny_bundle(tmp_path / "bundle")
        with ExperimentRecorder(uri, "training").trial("tiny", {}) as record:
            model = record.model(bundle)
        registry.promote_copy(registry.register(model, "Defect_CNN"), "Production_Reg", TESTED)
        config = project.config()
        promote(config, 1, "the first lamp")
        app = create_app(config)
        answer = app.test_client().post("/predict", data=encoded(DARK), content_type="image/png")
        services_of(app).served.stop()
        services_of(app).records.close()
        use(monkeypatch, storage)
        assert (answer.status_code, answer.json["model"]["name"]) == (200, "Production_Reg")
        assert any("model.xml" in name for name in bucket_of.listed(address))
    told = (tmp_path / "log.txt").read_text() + caplog.text + answer.text
    stored = (tmp_path / "server.db").read_bytes()
    assert not [one for one in (KEY, SECRET) if one in told or one.encode() in stored]
