"""The logged model against `Inspector`: by pyfunc, by Keras, and over ``mlflow models serve``."""

import base64
import json
import subprocess
import sys
import urllib.request
import warnings
from collections.abc import Callable, Iterable
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image
from waiting import LIMIT_S

from defect_detection.data.images import read_image
from defect_detection.inference.inspect import Inspection, Inspector
from defect_detection.model.bundle import (
    KERAS_FILE,
    OPENVINO_FILE,
    write_card,
    write_golden,
    write_trained_on,
)
from defect_detection.model.card import Card
from defect_detection.model.forms import to_openvino
from defect_detection.tracking.flavor import REQUIRED_PACKAGES, PyfuncModel
from defect_detection.tracking.registry import Registry
from defect_detection.tracking.runs import ExperimentRecorder
from defect_detection.tracking.store import connect

pytestmark = [
    # MLflow 3.17 on SQLAlchemy 2.1
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    # Keras 3 and TensorFlow 2.21 on NumPy 2
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]

LOAD = """
import json, os, sys, zipfile
import mlflow, pandas
from mlflow.models import Model
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = model.predict(pandas.DataFrame({"image": [open(path, "rb").read() for path in sys.argv[2:]]}))
source = sys.modules["defect_detection"].__file__
from defect_detection.processes.python_path import python_path
(of_children,) = (one for one in python_path()["PYTHONPATH"].split(os.pathsep) if "defect_detection" in one)
assert source.startswith(of_children + "/"), of_children
packed = zipfile.Path(source.partition(".zip/")[0] + ".zip", "defect_detection/")
folders = sorted(path.name for path in packed.iterdir() if path.is_dir())
too_many = sorted({"tensorflow", "keras", "jax"} & set(sys.modules))
path = mlflow.artifacts.download_artifacts(sys.argv[1])
logged = Model.load(path)
example = logged.load_input_example(path).to_dict("split")
example.pop("index")
serving = json.loads(logged.get_serving_input(path))
names = [logged.signature.inputs.input_names(), logged.signature.outputs.input_names()]
print(json.dumps([too_many, source, folders, rows.to_dict("records"), names, example, serving]))
"""
INSPECT = """
import json, sys
from pathlib import Path
from defect_detection.tracking.flavor import _load_pyfunc
_load_pyfunc(sys.argv[1]).predict([Path(sys.argv[2])])
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


@pytest.fixture(scope="session")
def real_bundle(tmp_path_factory: pytest.TempPathFactory, card: Card) -> Path:
    """A bundle that can be loaded, of a model that finds bright images defective."""
    folder = tmp_path_factory.mktemp("real") / "bundle"
    folder.mkdir()
    model = tiny_model()
    model.save(folder / KERAS_FILE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # OpenVINO's converter gives Keras a list for the one input
        to_openvino(model, folder / OPENVINO_FILE)
    write_golden(folder, np.zeros((1, 32, 32, 3), np.uint8), np.zeros(1, np.float32))
    write_trained_on(folder, [])
    write_card(folder, card)
    return folder


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    paths = [folder / name for name in ("0.png", "1.png", "decoded in a process of its own.jpg")]
    for path, brightness in zip(paths, (64, 128, 255), strict=True):
        pixels = random.integers(0, brightness, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, progressive=True)
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


def test_pyfunc_gives_the_inspectors_score_from_its_own_source_without_keras_and_tells_its_input(
    server_uri: str,
    log_model: Callable[[str], str],
    model: PyfuncModel,
    images: list[Path],
    inspections: list[Inspection],
    run_python: Any,
):
    modules, source, folders, rows, names, example, serving = run_python(
        LOAD, server_uri, log_model(server_uri), *images
    )
    assert modules == []
    assert source.endswith("/code/defect_detection.zip/defect_detection/__init__.py")
    assert "inference" in folders and not {"serving", "training"} & {*folders}, "inference imports neither"
    assert [row["score"] for row in rows] == [one.score for one in inspections]
    assert [row["verdict"] for row in rows] == [one.verdict for one in inspections]
    columns = ["score", "verdict", "threshold", "reason", "error"]
    columns += ["defect_type", "defect_type_probability", "defect_types", "boxes"]
    assert names == [["image"], columns]
    assert [row["boxes"] for row in rows] == [one.boxes.to_json() for one in inspections]
    assert list(model.predict(pd.DataFrame(**example))["error"]) == [None]
    assert serving == {"dataframe_split": example}


def test_the_keras_flavour_gives_the_same_score(
    embedded_uri: str,
    name: str,
    log_model: Callable[[str], str],
    images: list[Path],
    inspections: list[Inspection],
):
    log_model(embedded_uri)
    location = connect(embedded_uri).client.get_model_version_download_uri(name, "1")
    import mlflow

    model = mlflow.keras.load_model(location)
    scores = model.predict(np.stack([read_image(path) for path in images]), verbose=0)["score"]
    assert np.allclose(scores, [one.score for one in inspections], atol=1e-4)


def test_mlflow_serves_the_model(
    embedded_uri: str,
    log_model: Callable[[str], str],
    images: list[Path],
    inspections: list[Inspection],
    closed_port: int,
    plain_environment: dict[str, str],
    run_server: Any,
    tmp_path: Path,
):
    address = f"http://127.0.0.1:{closed_port}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "--workers", "1"]
    command += ["--port", str(closed_port), "--model-uri", log_model(embedded_uri)]
    data = [[base64.b64encode(path.read_bytes()).decode()] for path in images]
    body = {"dataframe_split": {"columns": ["image"], "data": [*data, ["no image"]]}}
    request = urllib.request.Request(
        f"{address}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    environment = plain_environment | {"MLFLOW_TRACKING_URI": embedded_uri}
    with (
        run_server(command, f"{address}/ping", environment, tmp_path),
        urllib.request.urlopen(request, timeout=LIMIT_S) as answer,
    ):
        rows = json.load(answer)["predictions"]
    assert [row["score"] for row in rows] == [*(one.score for one in inspections), None]
    assert [row["boxes"] for row in rows] == [*(one.boxes.to_json() for one in inspections), []]
    assert rows[2]["boxes"] and rows[2]["defect_types"] == []


def test_the_requirements_hold_every_package_that_inference_imports(
    real_bundle: Path, images: list[Path], run_python: Any
):
    providers = packages_distributions()
    imported = run_python(INSPECT, "", real_bundle, images[0])
    used = {canonicalize_name(provider) for module in imported for provider in providers.get(module, [])}
    optional = {"absl-py", "setuptools"}  # OpenVINO and Python's start-up use them where they are there
    assert used - with_dependencies(REQUIRED_PACKAGES) - optional <= {"defect-detection"}
    assert {"openvino", "pillow"} <= used


def with_dependencies(packages: Iterable[str]) -> set[str]:
    """Return the packages and what they need, and what that needs, in this environment."""
    found: set[str] = set()
    waiting = list(packages)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in found:
            found.add(name)
            needed = [Requirement(text) for text in requires(name) or []]
            waiting += [
                one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})
            ]
    return found


def tiny_model() -> keras.Model:
    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    bright = keras.layers.AveragePooling2D(16)(keras.layers.Rescaling(1 / 255)(image))
    ones, minus_one = keras.initializers.Ones(), keras.initializers.Constant(-1)
    cells = keras.layers.Conv2D(1, 1, kernel_initializer=ones, bias_initializer=minus_one)(bright)
    evidence = keras.layers.Reshape((2, 2), name="evidence")(cells)
    score = keras.layers.Activation("sigmoid", name="score")(keras.ops.mean(evidence, axis=(1, 2)))
    return keras.Model(image, {"score": score, "evidence": evidence})


@pytest.fixture
def run_python(plain_environment: dict[str, str], tmp_path: Path) -> Callable[..., Any]:
    """A function that runs code with a tracking URI and arguments in a new process and reads its JSON."""

    def run(code: str, tracking_uri: str, *arguments: object) -> Any:
        environment = plain_environment | {"MLFLOW_TRACKING_URI": tracking_uri}
        command = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(
            command,
            env=environment,
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run
