"""The served model follows the registry: a real store, a real server, and clients that never notice."""

import atexit
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tiny import DARK, encoded, write_tiny_bundle
from waiting import wait_until

from defect_detection.errors import BundleError, NoModelError, TrackingError
from defect_detection.inference.inspect import Inspector
from defect_detection.serving.app import create_app
from defect_detection.serving.champion import Served, load_champion
from defect_detection.serving.services import services_of
from defect_detection.tracking.reading import ModelRef
from defect_detection.tracking.registry import Registry
from defect_detection.tracking.store import connect

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

NAME = "Production_Reg"


class Plant:
    """A store with versions of Production_Reg that were never trained."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = f"sqlite:///{root}/mlflow.db"
        root.mkdir(parents=True, exist_ok=True)
        shutil.copy(_empty_store(), root / "mlflow.db")
        self._open()

    def _open(self) -> None:
        self.registry = Registry(self.uri)
        self.client = connect(self.uri).client

    def copy(self, root: Path) -> "Plant":
        """Copy the folder. The store of the copy corrects its own paths."""
        plant = object.__new__(Plant)
        plant.root, plant.uri = root, f"sqlite:///{root}/mlflow.db"
        shutil.copytree(self.root, root, dirs_exist_ok=True)
        plant._open()
        return plant

    def version(self, name: str = NAME, **how) -> int:
        """Register a tiny bundle, as `write_tiny_bundle` makes it, and return its version."""
        source = self.root / f"source-{time.monotonic_ns()}"
        write_tiny_bundle(source / "bundle", **how)
        return int(
            self.client.create_model_version(name, source.as_uri(), tags={"test_accuracy": "0.9"}).version
        )

    def promote(self, version: int, name: str = NAME) -> None:
        self.registry.set_alias(name, "prod", version)


@cache
def _empty_store() -> Path:
    """Return the file of a store in which nothing is but the name of the model: MLflow takes a second to make it."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    connect(f"sqlite:///{folder}/mlflow.db").client.create_registered_model(NAME)
    return folder / "mlflow.db"


@pytest.fixture(scope="module")
def plant(tmp_path_factory) -> Plant:
    return Plant(tmp_path_factory.mktemp("plant"))


@pytest.fixture
def config(project, plant, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", plant.uri)
    return project.config("serving.refresh_s=0.05")


@pytest.fixture
def served(config) -> Iterator[Served]:
    served = Served.of(config)
    yield served
    served.stop()


def version_of(served: Served) -> int:
    return served.current().reference.version


def test_ten_swaps_under_load_answer_every_request_with_one_of_the_two_models(config, plant, serving):
    versions = [plant.version(threshold=0.25), plant.version(threshold=0.75)]
    thresholds = dict(zip(versions, (0.25, 0.75), strict=True))
    plant.promote(versions[0])
    app = create_app(config)
    send = serving(config, app)
    served: Served = services_of(app).served
    answers, stop = [], threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answer = send("POST", "/predict", encoded(DARK), **{"Content-Type": "image/png"})
            answers.append((answer.status, json.loads(answer.body)))

    wait_until(lambda: version_of(served) == versions[0])
    clients = [threading.Thread(target=ask) for _ in range(3)]
    for client in clients:
        client.start()
    for number in range(1, 11):
        plant.promote(versions[number % 2])
        wait_until(lambda number=number: served.swaps == number)
        seen = len(answers)
        wait_until(lambda seen=seen: len(answers) > seen + 2)
    stop.set()
    for client in clients:
        client.join()
    served.stop()
    assert {status for status, _ in answers} == {200}
    assert {answer["model"]["version"] for _, answer in answers} == set(versions)
    assert all(answer["threshold"] == thresholds[answer["model"]["version"]] for _, answer in answers)


def test_a_version_that_cannot_be_served_leaves_the_old_one_and_says_why(config, plant, served):
    good, wrong = plant.version(), plant.version(golden_scores=(0, 1))
    plant.promote(good)
    assert version_of(served) == good
    plant.promote(wrong)
    wait_until(lambda: served.problem is not None)
    assert version_of(served) == good
    assert f"{NAME} version {wrong}: not served, 2 of 2 golden images" in served.problem
    plant.promote(good)
    wait_until(lambda: served.problem is None)


@pytest.mark.parametrize(("problem", "seconds"), [(None, 1), ("damaged", 5)])
def test_what_cannot_be_loaded_is_tried_again_less_often_than_the_registry_is_asked(
    problem, seconds, monkeypatch
):
    def load(reference: ModelRef) -> Inspector:
        if problem:
            raise BundleError(problem)
        return object()

    served, waits = Served(lambda: ModelRef(NAME, 1, "", {}), load, f"{NAME}@prod", refresh_s=10), []

    def wait(timeout: float) -> None:
        waits.append(timeout)
        served.release()

    monkeypatch.setattr(served._wake, "wait", wait)
    served.start()
    served.stop()
    assert (served.problem, waits) == (problem, [seconds])


def test_health_and_metrics_tell_that_what_is_promoted_is_not_served(config, plant):
    good, wrong = plant.version(), plant.version(golden_scores=(0, 1))
    plant.promote(good)
    app = create_app(config)
    client, served = app.test_client(), services_of(app).served
    assert client.get("/health/ready").json["problem"] is None
    plant.promote(wrong)
    wait_until(lambda: served.problem is not None)
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json["version"]) == (200, good)
    assert "golden" in ready.json["problem"]
    assert "defect_model_refresh_failing 1.0" in client.get("/metrics").text
    served.stop()


def test_models_lists_what_is_served_and_every_version(config, plant):
    version = plant.version()
    plant.promote(version)
    app = create_app(config)
    services_of(app).served.current()
    answer = app.test_client().get("/models").json
    assert (answer["champion"]["version"], answer["champion"]["threshold"]) == (version, 0.5)
    newest = answer["versions"][0]
    assert (newest["version"], newest["aliases"], newest["tags"]) == (
        version,
        ["prod"],
        {"test_accuracy": "0.9"},
    )
    assert [one["version"] for one in answer["versions"]] == list(range(version, max(0, version - 20), -1))
    services_of(app).served.stop()


def test_a_model_that_is_promoted_after_the_start_is_served(project):
    found = []
    bundle = write_tiny_bundle(project.root / "bundle")
    served = Served(lambda: found[0] if found else None, lambda _: Inspector.load(bundle), "a@prod", 0.02)
    with pytest.raises(NoModelError, match="a@prod"):
        served.current()
    found.append(ModelRef("a", 1, "run", {}))
    wait_until(lambda: served.loaded is not None)
    assert served.problem is None
    served.stop()


@pytest.mark.parametrize("error", [TrackingError("no registry"), ZeroDivisionError("a bug")])
def test_a_registry_that_fails_leaves_the_model_that_is_loaded(project, error):
    failing = threading.Event()
    bundle = write_tiny_bundle(project.root / "bundle")

    def find() -> ModelRef:
        if failing.is_set():
            raise error
        return ModelRef("a", 1, "run", {})

    served = Served(find, lambda _: Inspector.load(bundle), "a@prod", 0.02)
    assert version_of(served) == 1
    failing.set()
    wait_until(lambda: served.problem is not None)
    assert version_of(served) == 1
    failing.clear()
    wait_until(lambda: served.problem is None)
    served.stop()


def test_the_old_model_is_freed_once_its_requests_have_ended(project):
    import gc
    import weakref

    now = [ModelRef("a", 1, "run", {})]
    bundle = write_tiny_bundle(project.root / "bundle")
    served = Served(lambda: now[0], lambda _: Inspector.load(bundle), "a@prod", 0.02)
    old = served.current()
    watched = weakref.ref(old.inspector)
    now[0] = ModelRef("a", 2, "run", {})
    wait_until(lambda: served.swaps == 1)
    assert old.inspector.inspect_one(encoded(DARK)).verdict == "defective"
    del old
    gc.collect()
    assert watched() is None
    served.stop()


def test_a_damaged_bundle_is_not_served(config, plant):
    version = plant.version()
    reference = ModelRef(NAME, version, "", {}, next(plant.root.glob("source-*")).as_uri())
    folder = plant.registry.bundle_of(reference, config.cache_dir)
    (folder / "model.bin").write_bytes(b"damaged")
    with pytest.raises(BundleError, match="does not match its checksum"):
        load_champion(reference, config)


def test_one_image_gives_the_same_score_alone_and_among_many(tmp_path):
    inspector = Inspector.load(write_tiny_bundle(tmp_path / "bundle"))
    inspector.prepare()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    alone = inspector.inspect_one(encoded(pixels))
    together = []
    threads = [
        threading.Thread(target=lambda: together.append(inspector.inspect_one(encoded(pixels))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.score for one in together} == {alone.score}
