"""Health, errors, the OpenAPI document, and the life of the server process."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection

import pytest

from defect_detection.errors import ConfigError, TrackingError
from defect_detection.serving import readiness
from defect_detection.serving.app import MAX_BODY_BYTES, create_app
from defect_detection.serving.server import MAX_RECEIVED_BYTES, make_server
from defect_detection.tracking.registry import ModelRef

PROBLEM = "application/problem+json"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_ready_names_the_promoted_model(project):
    champion = ModelRef("Production_Reg", 3, "run", {})
    answer = create_app(project.config(), lambda: champion).test_client().get("/health/ready")
    assert answer.status_code == 200
    assert answer.json == {"status": "ready", "name": "Production_Reg", "version": 3}


def test_not_ready_says_which_command_makes_a_model(project):
    answer = create_app(project.config(), lambda: None).test_client().get("/health/ready")
    assert (answer.status_code, answer.mimetype) == (503, PROBLEM)
    assert "Production_Reg@prod" in answer.json["detail"]
    assert "python src/train.py" in answer.json["detail"]


def test_not_ready_says_what_is_wrong_with_the_registry(project):
    def unreachable():
        raise TrackingError("http://mlflow:5000 doesn't answer")

    answer = create_app(project.config(), unreachable).test_client().get("/health/ready")
    assert (answer.status_code, answer.json["detail"]) == (503, "http://mlflow:5000 doesn't answer")


def test_readiness_is_remembered_for_a_moment_then_asked_again(project, monkeypatch):
    found = []

    def find():
        found.append(len(found))
        return ModelRef("Production_Reg", found[-1] + 1, "run", {})

    client = create_app(project.config(), find).test_client()
    assert [client.get("/health/ready").json["version"] for _ in range(3)] == [1, 1, 1]
    monkeypatch.setattr(readiness, "REMEMBER_S", 0.0)
    client = create_app(project.config(), find).test_client()
    assert [client.get("/health/ready").json["version"] for _ in range(2)] == [2, 3]


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
        ("POST", "/retrain", b"x" * (MAX_BODY_BYTES + 1), 413),
        ("POST", "/retrain", b"x" * (MAX_RECEIVED_BYTES + 1), 413),
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
    def broken():
        raise ZeroDivisionError("secret")

    answer = create_app(project.config(), broken).test_client().get("/health/ready")
    assert (answer.status_code, answer.mimetype) == (500, PROBLEM)
    assert "secret" not in answer.text


def test_the_openapi_document_lists_every_route_with_its_answers(project):
    document = create_app(project.config()).test_client().get("/openapi.json").json
    statuses = {path: {*next(iter(item.values()))["responses"]} for path, item in document["paths"].items()}
    assert statuses == {
        "/feedback": {"201", "400", "401", "403", "404", "413", "503"},
        "/health/records": {"200", "400"},
        "/inspections": {"200", "400", "401", "403", "503"},
        "/inspections/{id}": {"200", "400", "401", "403", "404", "503"},
        "/inspections/{id}/image": {"200", "400", "401", "403", "404", "410", "503"},
        "/health/live": {"200", "400"},
        "/health/ready": {"200", "400", "503"},
        "/jobs": {"200", "400", "401", "403", "503"},
        "/jobs/{id}": {"200", "400", "401", "403", "404", "503"},
        "/jobs/{id}/cancel": {"200", "400", "401", "403", "404", "503"},
        "/jobs/{id}/log": {"200", "400", "401", "403", "404", "503"},
        "/retrain": {"200", "202", "400", "401", "403", "409", "413", "500", "503"},
    }


def test_a_taken_port_is_an_error_that_names_the_setting(project):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(ConfigError, match=r"serving\.port: can't listen on 127\.0\.0\.1"):
            make_server(create_app(project.config()), "127.0.0.1", listener.getsockname()[1])


def test_the_server_ends_on_sigterm_together_with_its_retraining(project):
    project.script("""
        import os, pathlib, time
        pathlib.Path("pid").write_text(str(os.getpid()))
        time.sleep(60)
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
        wait_for(lambda: is_listening(port))
        client = HTTPConnection("127.0.0.1", port, timeout=30)
        client.request("POST", "/retrain")
        wait_for(lambda: (project.root / "pid").exists() and (project.root / "pid").read_text() != "")
        retraining = int((project.root / "pid").read_text())
        server.send_signal(signal.SIGTERM)
        _, log = server.communicate(timeout=30)
        client.close()
    assert server.returncode == 0, log
    with pytest.raises(ProcessLookupError):
        os.kill(retraining, 0)


def is_listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition, timeout_s: float = 30.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
