"""A project folder with a retraining script of the test's own, a model, and the real server over them."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from flask_openapi3.openapi import OpenAPI
from recorded import wait_for_records
from tiny import encoded, write_tiny_bundle
from waiting import LIMIT_S
from whole import stop

from defect_detection.config import Config, load_config
from defect_detection.inference.inspect import Inspector
from defect_detection.records import writer
from defect_detection.serving import job_process, server, worker
from defect_detection.serving.app import create_app
from defect_detection.serving.recording import Recorder
from defect_detection.serving.server import make_server
from defect_detection.serving.services import services_of
from defect_detection.serving.views import jobs
from defect_detection.tracking.reading import ModelRef

Send = Callable[..., "Answer"]


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the servers of this process look often at what has changed, so that no test waits for the next look."""
    for module in (job_process, jobs, server, worker):
        monkeypatch.setattr(module, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(worker, "RETRY_S", 0.1)
    monkeypatch.setattr(writer, "RETRY_S", 0.1)


class Answer:
    """Status, headers and body of one response."""

    def __init__(self, connection: HTTPConnection) -> None:
        response = connection.getresponse()
        self.status, self.headers, self.body = response.status, response.headers, response.read()


class Project:
    """A folder with config.yaml and re_train/re_train.py."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "config.yaml").write_text("training: {hyperparameter_sets: [{name: only}]}\n")
        (root / "re_train").mkdir()

    def script(self, text: str) -> None:
        (self.root / "re_train" / "re_train.py").write_text(dedent(text))

    def config(self, *overrides: str) -> Config:
        return load_config(self.root / "config.yaml", overrides)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("DEFECT_API_KEY", raising=False)
    return Project(tmp_path)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("tiny") / "bundle")


@pytest.fixture
def predicting(project: Project, bundle: Path) -> Iterator[Callable[..., OpenAPI]]:
    """Return a function that makes the application with the tiny model as version 3: ``predicting("serving.threads=2")``."""
    made = []

    def make(*overrides: str, recorder: Recorder | None = None) -> OpenAPI:
        champion = ModelRef("Production_Reg", 3, "run", {})
        load = partial(Inspector.load, bundle)
        made.append(
            create_app(project.config(*overrides), lambda: champion, lambda _reference: load(), recorder)
        )
        return made[-1]

    yield make
    for app in made:
        services_of(app).served.stop()


@pytest.fixture
def serving() -> Iterator[Callable[..., Send]]:
    """Return a function that serves a configuration and returns the function that sends to it."""
    running = []

    def start(config: Config, app: OpenAPI | None = None) -> Send:
        server = make_server(app or create_app(config), config, "127.0.0.1", 0)
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((server, thread))

        def send(method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
            connection = HTTPConnection("127.0.0.1", server.effective_port, timeout=LIMIT_S)
            try:
                connection.request(method, path, body, headers)
                return Answer(connection)
            finally:
                connection.close()

        send.port = server.effective_port  # type: ignore[attr-defined]
        return send

    yield start
    for started, thread in running:
        stop(started, thread)


@pytest.fixture
def app(predicting: Callable[..., OpenAPI]) -> Iterator[OpenAPI]:
    """Return the application with the tiny model."""
    app = predicting()
    yield app
    services_of(app).records.close()


@pytest.fixture
def inspect(app: OpenAPI, send: Send) -> Callable[[dict[str, np.ndarray]], None]:
    """Return a function that has images inspected over HTTP, and returns once they are recorded: ``inspect({"a.png": DARK})``."""

    def inspect(images: dict[str, np.ndarray]) -> None:
        for name, pixels in images.items():
            answer = send("POST", f"/predict?name={name}", encoded(pixels), **{"Content-Type": "image/png"})
            assert answer.status == 200
        wait_for_records(app)

    return inspect


@pytest.fixture
def send(app: OpenAPI, project: Project, serving: Callable[..., Send]) -> Send:
    """Serve `app` and return the function that sends to it."""
    return serving(project.config(), app)
