"""Fixtures for all tests: an environment of their own, and small data sets on disk."""

import gc
import json
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import garbage  # before those that hold much
import numpy as np
import pytest
from browser import browser, open_page, windows  # noqa: F401  fixtures
from flask_openapi3.openapi import OpenAPI
from forked import fork_server_in, python
from mlflow_server import plain_environment  # noqa: F401  fixture
from object_storage import bucket, storage  # noqa: F401  fixtures
from once import of_all_processes, once
from PIL import Image
from plant import Plant
from postgres import _migrated, postgres_records_url, postgres_server, postgres_url  # noqa: F401  fixtures
from sqlalchemy import Connection, Engine, event, inspect
from sqlalchemy.pool import Pool
from werkzeug.routing import Rule

from defect_detection.config import Config, load_config
from defect_detection.records import migrating
from defect_detection.records.database import Database
from defect_detection.tracking import store
from defect_detection.use_cases import drawn_defects
from defect_detection.use_cases.evaluate import evaluate
from defect_detection.use_cases.train import train

# What a shell starts in the background ignores interrupts, and so would all that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

WAITING = ("test_first_model.py", "test_page_loop.py", "test_on_a_cluster.py", "test_drill.py")
ENVIRONMENT = ("MLFLOW_TRACKING_URI", "DEFECT_API_KEY", "DEFECT_USER", "DATABASE_URL")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that mostly wait for other processes: the rest runs meanwhile, not after them."""
    items.sort(key=lambda item: item.path.name not in WAITING)


def pytest_collection_finish() -> None:
    garbage.collect_seldom()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, "")  # so that what a test's own .env sets is undone as well
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _close_databases(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close the connections that a test leaves where it fails: its successors would be blamed for them."""
    engines, make = [], Database._make_engine

    def make_engine(database: Database) -> Engine:
        engines.append(make(database))
        return engines[-1]

    monkeypatch.setattr(Database, "_make_engine", make_engine)
    yield
    for engine in engines:
        engine.dispose()


@pytest.fixture(autouse=True, scope="session")
def _fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with fork_server_in(of_all_processes(tmp_path_factory)):
        yield


@pytest.fixture(autouse=True, scope="session")
def _without_waiting_for_the_disk() -> Iterator[None]:
    """Let no SQLite database of MLflow wait until the disk has what it wrote: a killed process loses nothing either way."""

    def connected(connection: object, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Pool, "connect", connected)
    yield
    event.remove(Pool, "connect", connected)


@pytest.fixture(autouse=True, scope="session")
def _empty_store_made_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Make an embedded store from a copy of the first one: MLflow takes a second for its tables."""
    make = store._make_store

    def copy(database: Path) -> None:
        empty = once(tmp_path_factory, "empty-store", lambda folder: make(folder / "mlflow.db"))
        shutil.copyfile(empty / "mlflow.db", database)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_make_store", copy)
        yield


@pytest.fixture(autouse=True, scope="session")
def _empty_tables_made_once() -> Iterator[None]:
    """Make the tables of a new SQLite database from those that the migrations made the first time."""
    migrate, made = migrating.migrate, []

    def repeat(connection: Connection) -> None:
        if connection.dialect.name != "sqlite" or inspect(connection).get_table_names():
            migrate(connection)
        elif made:
            for statement in made:
                connection.exec_driver_sql(statement)
        else:
            migrate(connection)
            dump = connection.connection.driver_connection.iterdump()
            made.extend(line for line in dump if line not in ("BEGIN TRANSACTION;", "COMMIT;"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrating, "migrate", repeat)
        yield


@pytest.fixture(autouse=True, scope="session")
def _addresses_compiled_once() -> Iterator[None]:
    """Compile each address once, not for each of a thousand applications: it takes three quarters of the time to make one."""
    compile_builder, compiled = Rule._compile_builder, {}

    def remembered(rule: Rule, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        key = rule.rule, str(rule.defaults), append_unknown
        if key not in compiled:
            compiled[key] = compile_builder(rule, append_unknown)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "_compile_builder", remembered)
        yield


@pytest.fixture(autouse=True, scope="session")
def _document_made_once() -> Iterator[None]:
    """Make the OpenAPI document once for all applications with the same operations: the first request to each needs it."""
    generate, made = OpenAPI.generate_spec_json, {}

    def remembered(app: OpenAPI) -> None:
        about = app.openapi_version, app.info, app.severs, app.external_docs, app.tags, app.openapi_extensions
        checks = app.security_schemes, app.validation_error_status, app.validation_error_model
        schemas = sorted(app.components_schemas)
        key = repr((about, checks, schemas, [(path, id(item)) for path, item in app.paths.items()]))
        if key not in made:
            generate(app)
            kept = list(app.paths.values())  # which keeps the ids of these
            made[key] = app.spec_json, json.dumps(app.spec_json), kept
        app.spec_json = made[key][0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenAPI, "generate_spec_json", remembered)
        yield
    assert all(json.dumps(document) == text for document, text, _ in made.values()), (
        "an application has changed the document that all share"
    )


@pytest.fixture(autouse=True, scope="session")
def _few_drawn_defects() -> Iterator[None]:
    """Draw one defect of each kind in an evaluation, not eight: they take a quarter of its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawn_defects, "_OF_EACH", 1)
        yield


@pytest.fixture(autouse=True, scope="session")
def _look_at_the_end() -> Iterator[None]:
    """Find what was left open within the last test: what is found later fails no run of several processes."""
    yield
    gc.collect()


@pytest.fixture
def forked_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process start its trainings, evaluations and changes from the fork server."""
    monkeypatch.setenv(
        "PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )  # for others beside it
    monkeypatch.setattr(sys, "executable", python())


@pytest.fixture
def write_images() -> Callable[..., list[Path]]:
    """A function that writes images of noise, no two alike: `write_images(folder, count)`."""
    random = np.random.default_rng(0)

    def write(folder: Path, count: int, *, suffix: str = ".png", side: int = 12) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        first = len(list(folder.iterdir()))
        paths = [folder / f"{number:03}{suffix}" for number in range(first, first + count)]
        for path in paths:
            Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)
        return paths

    return write


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Config]:
    """A function that loads the smallest configuration, with its files in `tmp_path`: `project("seed=1")`."""
    path = tmp_path / "config.yaml"
    path.write_text("data: {image_size: 32}\ntraining: {hyperparameter_sets: [{name: only}]}\n")

    def load(*overrides: str) -> Config:
        return load_config(path, overrides)

    return load


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """The plant after training; for all tests, so change nothing in it. All processes of a run share it."""
    plant = Plant(once(tmp_path_factory, "plant", _train))
    cached = plant.cached()
    yield plant
    assert plant.cached() == cached, "a test has changed the plant that all share; give it a copy: `plant`"


@pytest.fixture(scope="session")
def promoted_once(trained_once: Plant, tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """The plant after training and evaluation: its model is in production. Change nothing in it."""
    return Plant(once(tmp_path_factory, "promoted", lambda root: _evaluate(trained_once.copy(root))))


@pytest.fixture(scope="session")
def missing_two_once(trained_once: Plant, tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """The plant with a model in production that misses two defects of the test images. Change nothing in it."""

    def make(root: Path) -> None:
        plant = trained_once.copy(root)
        with pytest.MonkeyPatch.context() as environment:
            _forget(environment)
            plant.make(plant.threshold_missing(2))
        _evaluate(plant)

    return Plant(once(tmp_path_factory, "missing-two", make))


@pytest.fixture
def plant(trained_once: Plant, tmp_path: Path) -> Plant:
    """The plant after training, as a copy of the test's own."""
    return trained_once.copy(tmp_path)


@pytest.fixture
def promoted(promoted_once: Plant, tmp_path: Path) -> Plant:
    """The plant with its model in production, as a copy of the test's own."""
    return promoted_once.copy(tmp_path)


@pytest.fixture
def missing_two(missing_two_once: Plant, tmp_path: Path) -> Plant:
    """The plant with a model in production that misses two defects, as a copy of the test's own."""
    return missing_two_once.copy(tmp_path)


def _train(root: Path) -> None:
    with pytest.MonkeyPatch.context() as environment:
        _forget(environment)
        train(Plant.build(root).config())


def _evaluate(plant: Plant) -> None:
    with pytest.MonkeyPatch.context() as environment:
        _forget(environment)
        assert evaluate(plant.config()).decision.outcome == "promote"


def _forget(environment: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        environment.delenv(name, raising=False)
