import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from defect_detection.errors import TrackingError
from defect_detection.tracking.reading import ModelRef, asked, looked_up
from defect_detection.tracking.registry import Registry
from defect_detection.tracking.runs import ExperimentRecorder
from defect_detection.tracking.store import connect, sqlite_file

# MLflow 3.17 on SQLAlchemy 2.1
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


def register(registry: Registry, name: str, bundle: Path) -> ModelRef:
    """Register a bundle as version 1 of ``<name>-candidates``, as training does."""
    with ExperimentRecorder(registry.tracking_uri, name).trial("a", {}) as record:
        model_uri = record.model(bundle)
    return registry.register(model_uri, f"{name}-candidates", {"accuracy": 0.75})


@pytest.fixture(scope="module")
def shared_bundle(make_bundle: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("shared") / "bundle")


@pytest.fixture(scope="module")
def registered() -> dict[str, ModelRef]:
    """By store: the version that is shared by tests which change neither it nor its model."""
    return {}


@pytest.fixture
def shared(registry: Registry, shared_bundle: Path, registered: dict[str, ModelRef]) -> ModelRef:
    if registry.tracking_uri not in registered:
        registered[registry.tracking_uri] = register(registry, f"shared-{uuid4().hex[:8]}", shared_bundle)
    return registered[registry.tracking_uri]


@pytest.fixture
def candidate(registry: Registry, shared: ModelRef, name: str) -> ModelRef:
    """A version of ``<name>-candidates`` of the test's own; its model is the shared one, because logging a model takes a second."""
    return registry.register(f"models:/{shared.tags['model_id']}", f"{name}-candidates", {"accuracy": 0.75})


@pytest.fixture
def own(registry: Registry, name: str, bundle: Path) -> ModelRef:
    """A version of ``<name>-candidates`` whose model is the test's own too."""
    return register(registry, name, bundle)


def test_registering_numbers_the_versions_and_keeps_their_origin(registry: Registry, candidate: ModelRef):
    again = registry.register(f"models:/{candidate.tags['model_id']}", candidate.name)
    assert (candidate.version, again.version) == (1, 2)
    assert candidate.tags["accuracy"] == "0.75"
    assert candidate.tags["source_run_id"] == candidate.run_id
    assert registry.version_of_run(candidate.name, candidate.run_id).version == 2
    assert registry.version_of_run(candidate.name, "0" * 32) is None


def test_promoting_the_same_model_twice_makes_one_version(registry: Registry, shared: ModelRef, name: str):
    first = registry.promote_copy(shared, name, {"test_accuracy": 0.5})
    second = registry.promote_copy(shared, name, {"test_accuracy": 0.25})
    assert (first.version, second.version) == (1, 1)
    assert (first.tags["test_accuracy"], second.tags["test_accuracy"]) == ("0.5", "0.25")
    assert second.tags["source_run_id"] == shared.run_id
    source = connect(registry.tracking_uri).client.get_model_version(name, "1").source
    assert source == shared.model_uri


def test_the_logged_model_names_its_versions(registry: Registry, own: ModelRef, name: str):
    registry.promote_copy(own, name)
    model = connect(registry.tracking_uri).client.get_logged_model(own.tags["model_id"])
    versions = [(one["name"], one["version"]) for one in json.loads(model.tags["mlflow.modelVersions"])]
    assert versions == [(own.name, 1), (name, 1)]


def test_an_alias_points_to_the_version_it_was_last_set_to(registry: Registry, candidate: ModelRef):
    newer = registry.register(f"models:/{candidate.tags['model_id']}", candidate.name)
    for version in (newer, candidate):
        registry.set_alias(candidate.name, "prod", version.version)
        assert registry.version_of(candidate.name, "prod").version == version.version
    found = registry.version_of(candidate.name, "prod")
    assert (found.run_id, found.tags) == (candidate.run_id, candidate.tags)
    assert registry.version_of(candidate.name, "latest").version == newer.version


def test_an_alias_that_nobody_has_set_points_to_nothing(registry: Registry, candidate: ModelRef):
    assert registry.version_of(candidate.name, "prod") is None
    assert registry.version_of("never-registered", "prod") is None


@pytest.mark.parametrize(("alias", "version"), [("latest", 1), ("prod", 99)])
def test_an_alias_that_cannot_be_set_is_reported(
    registry: Registry, shared: ModelRef, alias: str, version: int
):
    with pytest.raises(TrackingError, match=f"pointing {shared.name}@{alias} to version {version} failed"):
        registry.set_alias(shared.name, alias, version)


def test_the_direct_look_up_finds_what_mlflow_finds(registry: Registry, shared: ModelRef, name: str):
    copy = registry.promote_copy(shared, name, {"line": "5 ü"})
    registry.set_alias(name, "prod", copy.version)
    if database := sqlite_file(registry.tracking_uri):
        direct = looked_up(database, name, "prod", True)
        client = connect(registry.tracking_uri).client
        assert direct.location == client.get_model_version_download_uri(name, "1")
    else:
        direct = asked(registry.tracking_uri, name, "prod")
    assert replace(direct, location="") == registry._version_of(name, "prod") == copy


def test_looking_up_an_alias_needs_no_mlflow(registry: Registry, candidate: ModelRef, plain_environment):
    registry.set_alias(candidate.name, "prod", 1)
    code = "import sys; from defect_detection.tracking.registry import Registry\n"
    code += (
        "found = Registry(sys.argv[1]).version_of(sys.argv[2], 'prod'); print(found, 'mlflow' in sys.modules)"
    )
    command = [sys.executable, "-c", code, registry.tracking_uri, candidate.name]
    answer = subprocess.check_output(command, env=plain_environment, text=True)
    assert answer == f"{candidate.name} version 1 False\n"


def test_a_database_that_cannot_be_looked_up_directly_is_left_to_mlflow(embedded_uri: str, tmp_path: Path):
    copy = shutil.copyfile(sqlite_file(embedded_uri), tmp_path / "mlflow.db")
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("ALTER TABLE registered_models RENAME COLUMN description TO text")
        connection.execute("ALTER TABLE model_versions RENAME COLUMN source TO origin")
    with pytest.raises(TrackingError, match=r"looking up a@prod failed: .*no such column"):
        Registry(f"sqlite:///{copy}").version_of("a", "prod")


def test_looking_up_an_alias_creates_no_store(tmp_path: Path):
    assert Registry(f"sqlite:///{tmp_path}/mlflow.db").version_of("a", "prod") is None
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_registry_is_reported(closed_port: int):
    registry = Registry(f"http://127.0.0.1:{closed_port}")
    with pytest.raises(TrackingError, match="no MLflow server responded"):
        registry.version_of("a", "prod")


def test_a_bundle_is_fetched_once_and_whole(
    registry: Registry, shared: ModelRef, name: str, shared_bundle: Path, tmp_path: Path
):
    promoted = registry.promote_copy(shared, name)
    registry.set_alias(name, "prod", promoted.version)
    found = registry.version_of(name, "prod")
    with ThreadPoolExecutor(4) as threads:
        folders = set(threads.map(lambda _: registry.bundle_of(found, tmp_path / "cache"), range(4)))
    (folder,) = folders
    assert folder.name == f"{name}-1-{shared.tags['model_id']}"
    assert [one.name for one in folder.parent.iterdir()] == [folder.name]
    assert contents(folder) == contents(shared_bundle)
    (folder / "model.bin").write_bytes(b"mark")
    assert (registry.bundle_of(found, tmp_path / "cache") / "model.bin").read_bytes() == b"mark"


def test_a_download_that_fails_leaves_nothing(
    registry: Registry, own: ModelRef, kept_in: Path, tmp_path: Path
):
    (files,) = kept_in.rglob(own.tags["model_id"])
    shutil.rmtree(files)
    with pytest.raises(TrackingError, match=f"{own.name} version 1"):
        registry.bundle_of(own, tmp_path / "cache")
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_version_is_found_by_its_number_and_its_files_are_fetched_anew(
    registry: Registry, shared: ModelRef, tmp_path: Path
):
    found = registry.version(shared.name, 1)
    assert (str(found), found.run_id) == (str(shared), shared.run_id)
    assert registry.version(shared.name, 2) is None
    assert registry.version("nothing", 1) is None
    kept = registry.bundle_of(found, tmp_path / "cache")
    (kept / "model.bin").write_bytes(b"damaged here")
    (tmp_path / "new").mkdir()
    assert (registry.fetch(found, tmp_path / "new") / "model.bin").read_bytes() != b"damaged here"
