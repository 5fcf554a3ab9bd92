"""The logged model against `Inspector`: by pyfunc, by Keras, and over ``mlflow models serve``."""

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from defect_detection.inference.inspect import Inspection, Inspector
from defect_detection.model.bundle import Card, write_card, write_golden, write_trained_on
from defect_detection.tracking.flavor import PyfuncModel
from defect_detection.tracking.registry import Registry
from defect_detection.tracking.runs import ExperimentRecorder

# MLflow 3.17 on SQLAlchemy 2.1
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

# What a user runs, in an environment without this package's source on its path.
LOAD = """
import json, sys
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = model.predict(pandas.DataFrame({"image": [open(path, "rb").read() for path in sys.argv[2:]]}))
print(json.dumps([sorted({"tensorflow", "keras", "jax"} & set(sys.modules)), rows.to_dict("records")]))
"""
LOAD_KERAS = """
import json, sys
import mlflow, numpy
from PIL import Image
model = mlflow.keras.load_model(sys.argv[1])
pixels = numpy.stack([numpy.asarray(Image.open(path)) for path in sys.argv[2:]])
print(json.dumps(model.predict(pixels, verbose=0)["score"].tolist()))
"""


@pytest.fixture(scope="session")
def real_bundle(tmp_path_factory: pytest.TempPathFactory, card: Card) -> Path:
    """A bundle that can be loaded, of a model that finds bright images defective."""
    folder = tmp_path_factory.mktemp("real") / "bundle"
    folder.mkdir()
    script = Path(__file__).with_name("tiny_model.py")
    subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True, text=True)
    write_golden(folder, np.zeros((1, 32, 32, 3), np.uint8), np.zeros(1, np.float32))
    write_trained_on(folder, [])
    write_card(folder, card)
    return folder


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(3)]
    for path, brightness in zip(paths, (64, 128, 255), strict=True):
        Image.fromarray(random.integers(0, brightness, (32, 32, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.fixture(scope="session")
def inspections(real_bundle: Path, images: list[Path]) -> list[Inspection]:
    return list(Inspector.load(real_bundle).inspect(images))


@pytest.fixture(scope="session")
def model(real_bundle: Path) -> PyfuncModel:
    return PyfuncModel(Inspector.load(real_bundle))


@pytest.fixture
def log_model(real_bundle: Path, name: str) -> Callable[[str], str]:
    """A function that logs the model to a store and gives the URI of its alias."""

    def log(uri: str) -> str:
        registry = Registry(uri)
        with ExperimentRecorder(uri, name).trial("tiny", {}) as record:
            version = registry.register(record.model(real_bundle), name)
        registry.set_alias(name, "prod", version.version)
        return f"models:/{name}@prod"

    return log


def test_bytes_base64_and_paths_give_the_inspectors_score(
    model: PyfuncModel, images: list[Path], inspections: list[Inspection]
):
    encoded = [path.read_bytes() for path in images]
    texts = [base64.encodebytes(one).decode() for one in encoded]
    for given in (
        encoded,
        texts,
        images,
        pd.DataFrame({"image": encoded, "id": [1, 2, 3]}),
        pd.DataFrame(texts),
    ):
        rows = model.predict(given)
        assert list(rows["score"]) == [one.score for one in inspections]
        assert list(rows["verdict"]) == [one.verdict for one in inspections]
        assert list(rows["threshold"]) == [0.5] * 3
    assert len({one.verdict for one in inspections}) == 2


def test_the_rows_keep_the_index_of_the_input(model: PyfuncModel, images: list[Path]):
    rows = model.predict(pd.DataFrame({"image": [path.read_bytes() for path in images]}, index=[7, 5, 6]))
    assert list(rows.index) == [7, 5, 6]


def test_one_bad_image_costs_only_its_own_row(model: PyfuncModel, images: list[Path]):
    rows = model.predict([images[0], b"no image", "not base64!", None, images[1]])
    assert [error is None for error in rows["error"]] == [True, False, False, False, True]
    assert rows["score"].isna().tolist() == [False, True, True, True, False]


def test_a_text_is_never_opened_as_a_file(model: PyfuncModel, images: list[Path]):
    (error,) = model.predict([str(images[0])])["error"]
    assert "something else or a damaged file" in error


def test_columns_without_an_image_are_refused(model: PyfuncModel):
    with pytest.raises(ValueError, match="expected a column 'image'"):
        model.predict(pd.DataFrame({"a": [1], "b": [2]}))


def test_pyfunc_gives_the_inspectors_score_without_keras(
    uri: str,
    log_model: Callable[[str], str],
    images: list[Path],
    inspections: list[Inspection],
    run_python: Any,
):
    modules, rows = run_python(LOAD, uri, log_model(uri), *images)
    assert modules == []
    assert [row["score"] for row in rows] == [one.score for one in inspections]
    assert [row["verdict"] for row in rows] == [one.verdict for one in inspections]


def test_the_keras_flavour_gives_the_same_score(
    embedded_uri: str,
    log_model: Callable[[str], str],
    images: list[Path],
    inspections: list[Inspection],
    run_python: Any,
):
    scores = run_python(LOAD_KERAS, embedded_uri, log_model(embedded_uri), *images)
    assert np.allclose(scores, [one.score for one in inspections], atol=1e-4)


def test_mlflow_serves_the_model(
    embedded_uri: str,
    log_model: Callable[[str], str],
    images: list[Path],
    inspections: list[Inspection],
    closed_port: int,
    plain_environment: dict[str, str],
    await_answer: Any,
    tmp_path: Path,
):
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "--env-manager",
        "local",
        "--host",
        "127.0.0.1",
    ]
    command += ["--port", str(closed_port), "--workers", "1", "--model-uri", log_model(embedded_uri)]
    environment = plain_environment | {"MLFLOW_TRACKING_URI": embedded_uri}
    with (tmp_path / "log.txt").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        await_answer(f"http://127.0.0.1:{closed_port}/ping", server, tmp_path / "log.txt")
        data = [[base64.b64encode(path.read_bytes()).decode()] for path in images]
        body = {"dataframe_split": {"columns": ["image"], "data": [*data, ["no image"]]}}
        request = urllib.request.Request(
            f"http://127.0.0.1:{closed_port}/invocations",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            rows = json.load(answer)["predictions"]
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)
    assert [row["score"] for row in rows] == [*(one.score for one in inspections), None]


@pytest.fixture
def run_python(plain_environment: dict[str, str], tmp_path: Path) -> Callable[..., Any]:
    """A function that runs code with a tracking URI and arguments in a new process and reads its JSON."""

    def run(code: str, tracking_uri: str, *arguments: object) -> Any:
        environment = plain_environment | {"MLFLOW_TRACKING_URI": tracking_uri}
        command = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run
