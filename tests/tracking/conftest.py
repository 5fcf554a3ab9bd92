"""Both kinds of store, real ones: the embedded SQLite file, and one ``mlflow server`` for all tests."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from defect_detection.model.bundle import (
    GOLDEN_FILE,
    KERAS_FILE,
    OPENVINO_FILE,
    TRAINED_ON_FILE,
    Card,
    write_card,
)
from defect_detection.tracking.store import connect, sqlite_file

START_LIMIT_S = 120


@pytest.fixture(scope="session")
def embedded_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store whose path has what paths of real sites have: a space and letters beyond ASCII."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('läger 1')}/mlflow.db"
    connect(uri)
    return uri


@pytest.fixture(scope="session")
def server_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="session")
def server_uri(server_folder: Path, plain_environment: dict[str, str]) -> Iterator[str]:
    folder, port = server_folder, free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--workers", "1"]
    command += ["--allowed-hosts", f"127.0.0.1:{port}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = {**plain_environment, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with running(command, f"http://127.0.0.1:{port}/health", environment, folder):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(params=["embedded", "server"])
def uri(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{request.param}_uri")


@pytest.fixture
def kept_in(uri: str, server_folder: Path) -> Path:
    """The folder where the store keeps its files."""
    database = sqlite_file(uri)
    return database.parent if database else server_folder


@pytest.fixture
def closed_port() -> int:
    return free_port()


@pytest.fixture
def run_server() -> Callable[..., AbstractContextManager[None]]:
    return running


@pytest.fixture
def name() -> str:
    """A name that no other test uses: they share the stores."""
    return f"test-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def card() -> Card:
    return Card(
        name="tiny",
        created="2026-01-01T00:00:00+00:00",
        image_size=32,
        threshold=0.5,
        threshold_rule="balanced",
        defect_types=("scratch",),
        trunk="compact",
        levels=("level1",),
        weights=None,
        weights_licence="",
        trunk_fingerprint="",
        hyperparameters={},
        calibration={},
        data={},
        validation={},
        versions={},
    )


@pytest.fixture
def bundle(tmp_path: Path, card: Card) -> Path:
    """A bundle with a valid card. What is in its other files doesn't matter to a store."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    for file in (KERAS_FILE, OPENVINO_FILE, "model.bin", GOLDEN_FILE, TRAINED_ON_FILE):
        (folder / file).write_bytes(uuid.uuid4().bytes * 1000)
    write_card(folder, card)
    return folder


@contextmanager
def running(command: list[str], url: str, environment: dict[str, str], folder: Path) -> Iterator[None]:
    """Start a server, wait until it answers at `url`, and end it with its workers after the block."""
    log = folder / "log.txt"
    with log.open("w") as file:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=file, stderr=file, start_new_session=True
        )
    try:
        wait_for(url, server, log)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def plain_environment() -> dict[str, str]:
    """What a user's shell has, in an activated environment: without the marks of a test or of CI, at which
    MLflow changes its ways."""
    marks = ("PYTEST_", "MLFLOW_", "CI", "GITHUB_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(marks)}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"}


def wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the server doesn't answer:\n{log.read_text()}")
