"""Health, errors, the OpenAPI document, and the life of the server process."""

import json
import os
import signal
import socket
import subprocess
import sys
from http.client import HTTPConnection

import pytest
from waiting import LIMIT_S, wait_until

from benchmarks.ports import free_port
from defect_detection.errors import ConfigError, TrackingError
from defect_detection.serving import readiness
from defect_detection.serving.app import create_app
from defect_detection.serving.limits import PLAIN_BODY_BYTES
from defect_detection.serving.server import make_server

KEPT = {"400", "401", "403", "413", "422", "429", "503"}  # of what is kept in the database
OF_PRODUCT = {"403", "404"}  # a key that is bound to others; an unknown product
OF_DATA = {"200", "409", "507"} | KEPT | OF_PRODUCT
PLAIN_DATA = (
    "",
    "/archives",
    "/archives/{id}/unpack",
    "/bin/empty",
    "/changes.csv",
    "/findings",
    "/label",
    "/move",
)
PLAIN_DATA += ("/part", "/parts", "/split", "/thumbnail")
MODEL_PATHS = ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")
PROBLEM = "application/problem+json"


class Store:
    """A recorder whose store can be taken away."""

    def __init__(self) -> None:
        self.failure: str | None = None
        self.asked = 0

    def record(self, recorded, content):
        pass

    def check(self):
        self.asked += 1
        if self.failure:
            raise TrackingError(self.failure)


def test_ready_names_the_model_that_is_served(predicting):
    answer = predicting().test_client().get("/health/ready")
    assert answer.status_code == 200
    assert answer.json == {
        "status": "ready",
        "name": "Production_Reg",
        "version": 3,
        "problem": None,
        "drift": None,
    }


def test_not_ready_says_which_command_makes_a_model(project):
    answer = create_app(project.config(), lambda: None).test_client().get("/health/ready")
    assert (answer.status_code, answer.mimetype) == (503, PROBLEM)
    assert "Production_Reg@prod" in answer.json["detail"]
    assert "defect train" in answer.json["detail"]


def test_not_ready_says_what_is_wrong_with_the_registry(project):
    def unreachable():
        raise TrackingError("http://mlflow:5000 doesn't answer")

    answer = create_app(project.config(), unreachable).test_client().get("/health/ready")
    assert (answer.status_code, answer.json["detail"]) == (503, "http://mlflow:5000 doesn't answer")


def test_not_ready_when_inspections_cannot_be_kept(predicting):
    store = Store()
    store.failure = "inspections.db: disk full"
    answer = predicting(recorder=store).test_client().get("/health/ready")
    assert (answer.status_code, answer.json["detail"]) == (503, "inspections.db: disk full")


def test_what_the_store_said_is_remembered_for_a_moment_then_asked_again(predicting, monkeypatch):
    store = Store()
    client = predicting(recorder=store).test_client()
    assert [client.get("/health/ready").status_code for _ in range(3)] == [200, 200, 200]
    assert store.asked == 1
    monkeypatch.setattr(readiness, "REMEMBER_S", 0.0)
    store = Store()
    client = predicting(recorder=store).test_client()
    assert [client.get("/health/ready").status_code for _ in range(2)] == [200, 200]
    assert store.asked == 2


def test_readiness_asks_the_registry_of_the_configuration(project, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    answer = create_app(project.config()).test_client().get("/health/ready")
    assert answer.status_code == 503
    assert "Production_Reg@prod" in answer.json["detail"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", None, 404),
        ("GET", "/retrain", None, 405),
        ("DELETE", "/health/live", None, 405),
        ("POST", "/retrain", b"x" * (PLAIN_BODY_BYTES + 1), 413),
        ("POST", "/retrain", b"x" * 100 * PLAIN_BODY_BYTES, 413),
        ("POST", "/retrain", iter([b"x" * 10_000] * 2), 413),
    ],
    ids=[
        "unknown path",
        "wrong method",
        "no method to delete",
        "long body",
        "longer body",
        "long chunked body",
    ],
)
def test_every_error_has_one_shape(project, serving, method, path, body, status):
    answer = serving(project.config())(method, path, body)
    problem = json.loads(answer.body)
    assert (answer.status, answer.headers["Content-Type"]) == (status, PROBLEM)
    assert problem.keys() == {"type", "title", "status", "detail"}
    assert problem["status"] == status
    assert problem["detail"]


def test_what_is_not_http_gets_the_same_shape(project, serving):
    answer = serving(project.config())("GET", "/health/live", None, **{"Content-Length": "ten"})
    assert (answer.status, answer.headers["Content-Type"]) == (400, PROBLEM)
    assert json.loads(answer.body).keys() == {"type", "title", "status", "detail"}


def test_a_wrong_method_is_answered_with_the_right_ones(project, serving):
    answer = serving(project.config())("GET", "/retrain")
    assert set(answer.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}


def test_a_bug_is_answered_without_its_details(project):
    app = create_app(project.config())
    app.add_url_rule("/broken", "broken", lambda: 1 / 0)
    answer = app.test_client().get("/broken")
    assert (answer.status_code, answer.mimetype) == (500, PROBLEM)
    assert "division" not in answer.text


def test_the_openapi_document_is_the_same_each_time_and_names_no_parameter_twice(project):
    client = create_app(project.config()).test_client()
    first, second = (client.get("/openapi.json").json for _ in range(2))
    assert first == second
    for path, item in first["paths"].items():
        for operation in item.values():
            names = [one["name"] for one in operation.get("parameters", [])]
            assert len(names) == len(set(names)), path


def test_the_openapi_document_lists_every_route_with_its_answers(project):
    document = create_app(project.config()).test_client().get("/openapi.json").json
    statuses = {path: {*next(iter(item.values()))["responses"]} for path, item in document["paths"].items()}
    assert statuses == {
        "/health/live": {"200", "400", "413"},
        "/health/ready": {"200", "400", "413", "422", "503"} | OF_PRODUCT,
        "/metrics": {"200", "400", "401", "403", "413"},
        "/models": {"200"} | KEPT | OF_PRODUCT,
        "/products": {"200"} | KEPT - {"422"},
        "/access/page": {"200", "400", "401", "413", "429"},
        **{path: {"200", "400", "403", "404", "413", "422", "429", "503"} for path in MODEL_PATHS},
        **{f"{path}/ready": {"200", "400", "403", "404", "413", "422", "429", "503"} for path in MODEL_PATHS},
        **{
            f"{path}/infer": {"200", "400", "403", "404", "413", "415", "422", "429", "503"}
            for path in MODEL_PATHS
        },
        "/v2": {"200", "400", "413", "429"},
        "/v2/health/live": {"200", "400", "413"},
        "/v2/health/ready": {"200", "400", "413", "503"},
        "/predict": {"200", "400", "403", "404", "406", "413", "415", "422", "429", "503"},
        "/retrain": {"200", "202", "409", "500"} | KEPT | OF_PRODUCT,
        "/feedback": {"201", "404"} | KEPT,
        "/health/records": {"200", "400", "413"},
        "/inspections": {"200"} | KEPT | OF_PRODUCT,
        "/inspections.csv": {"200"} | KEPT | OF_PRODUCT,
        "/inspections/{id}": {"200", "404"} | KEPT,
        "/inspections/{id}/image": {"200", "404", "410"} | KEPT,
        "/inspections/{id}/evidence": {"200", "404", "410", "415"} | KEPT,
        "/inspections/{id}/preview": {"200", "404", "410", "415"} | KEPT,
        "/jobs": {"200"} | KEPT | OF_PRODUCT,
        "/jobs/{id}": {"200", "404"} | KEPT,
        "/jobs/{id}/cancel": {"200", "404"} | KEPT,
        "/jobs/{id}/log": {"200", "404"} | KEPT,
        "/statistics": {"200"} | KEPT | OF_PRODUCT,
        "/statistics/types": {"200"} | KEPT | OF_PRODUCT,
        "/advice": {"200", "409"} | KEPT | OF_PRODUCT,
        **{f"/data{rest}": OF_DATA for rest in PLAIN_DATA},
        "/data/images": OF_DATA,
        "/data/archives/{id}": OF_DATA | {"415"},
        "/training": {"200"} | KEPT | OF_PRODUCT,
        "/settings": {"200", "409"} | KEPT | OF_PRODUCT,
        "/monitoring": {"200"} | KEPT | OF_PRODUCT,
        "/access": {"200"} | KEPT - {"422"},
        "/history": {"200"} | KEPT | OF_PRODUCT,
        "/reports/{run_id}": {"200", "404"} | KEPT,
        "/models/rollback": {"200", "409"} | KEPT | OF_PRODUCT,
        "/models/{version}/promote": {"200", "409"} | KEPT | OF_PRODUCT,
    }


def test_a_taken_port_is_an_error_that_names_the_setting(project):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(ConfigError, match=r"serving\.port: cannot listen on 127\.0\.0\.1"):
            make_server(
                create_app(project.config()), project.config(), "127.0.0.1", listener.getsockname()[1]
            )


def test_the_server_ends_on_sigterm_together_with_its_retraining(project):
    project.script("""
        import os, pathlib, time
        pathlib.Path("pid").write_text(str(os.getpid()))
        time.sleep(3600)
    """)
    port = free_port()
    code = f"""
from pathlib import Path
from defect_detection.config import load_config
from defect_detection.serving.app import serve
serve(load_config(Path("config.yaml"), ["serving.host=127.0.0.1", "serving.port={port}"]))
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=project.root, stderr=subprocess.PIPE, text=True
    ) as server:
        wait_until(lambda: is_listening(port))
        client = HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        client.request("POST", "/retrain")
        wait_until(lambda: (project.root / "pid").exists() and (project.root / "pid").read_text() != "")
        retraining = int((project.root / "pid").read_text())
        server.send_signal(signal.SIGTERM)
        _, log = server.communicate(timeout=LIMIT_S)
        client.close()
    assert server.returncode == 0, log
    with pytest.raises(ProcessLookupError):
        os.kill(retraining, 0)


def is_listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
