"""Both kinds of store, real ones: the embedded SQLite file, and one ``mlflow server`` for all tests."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from done_once import newest_tables_found_once  # noqa: F401  fixture
from mlflow_server import mlflow_server, running

from benchmarks.ports import free_port
from defect_detection.evaluation.operating_point import OperatingPoint
from defect_detection.model.bundle import KERAS_FILE, OPENVINO_FILE, TRAINED_ON_FILE, write_card, write_golden
from defect_detection.model.card import Card
from defect_detection.tracking.registry import Registry
from defect_detection.tracking.store import connect, sqlite_file


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
    with mlflow_server(server_folder, plain_environment) as uri:
        yield uri


@pytest.fixture(params=["embedded", "server"])
def uri(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{request.param}_uri")


@pytest.fixture
def registry(uri: str) -> Registry:
    return Registry(uri)


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
        operating_point=OperatingPoint(threshold=0.5, rule="balanced", escape=None, overkill=None),
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


@pytest.fixture(scope="session")
def make_bundle(card: Card) -> Callable[[Path], Path]:
    """A function that writes a bundle with a valid card. What is in its other files doesn't matter to a store."""

    def make(folder: Path) -> Path:
        folder.mkdir()
        for file in (KERAS_FILE, OPENVINO_FILE, "model.bin", TRAINED_ON_FILE):
            (folder / file).write_bytes(uuid.uuid4().bytes * 1000)
        write_golden(folder, np.zeros((1, 32, 32, 3), np.uint8), np.zeros(1, np.float32))
        write_card(folder, card)
        return folder

    return make


@pytest.fixture
def bundle(tmp_path: Path, make_bundle: Callable[[Path], Path]) -> Path:
    return make_bundle(tmp_path / "bundle")
