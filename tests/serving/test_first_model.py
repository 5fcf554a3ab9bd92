"""The whole way on the page, without a terminal: from an empty server to a model that was trained again."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from plant import LEVELS, draw_part
from whole import whole_server

from defect_detection.config import load_config
from defect_detection.data.split import scan_split
from defect_detection.use_cases.history import history
from defect_detection.use_cases.project import start_project

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.usefixtures("forked_children"),
]

ROOT = Path(__file__).parents[2]
QUICKEST = (
    f"{{name: quick, levels: {list(LEVELS)}, branches: [pooled], turns: 1, pooled_regularization: 0.1}}"
)
SMALL = {
    "data.image_size": "64",
    "evaluation.gate.guards": "[escapes, slices, parity, challenge]",
    "evaluation.bootstrap_repetitions": "20",
    "training.cv_below": "0",
    "training.hyperparameter_sets": f"[{QUICKEST}]",
}


@pytest.fixture(autouse=True)
def _looks_often() -> None:
    """Look no more often than a server does: a training takes long, and looking takes a tenth of a processor."""


@pytest.fixture(scope="module")
def way():
    spec = importlib.util.spec_from_file_location("first_model", ROOT / "scripts/first_model.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def draw(folder: Path) -> list[Path]:
    folder.mkdir()
    rng = np.random.default_rng(3)
    counts = {"ok": 30, "chip": 20, "line": 1}  # the last is like the OK ones: a person says otherwise
    names = [f"{kind}-{number:02}.png" for kind, count in counts.items() for number in range(count)]
    for name in names:
        draw_part(rng, name.startswith("chip")).save(folder / name)
    return [folder / name for name in names]


def test_an_empty_server_comes_to_a_model_in_production_that_is_trained_again(
    way, open_page, tmp_path, monkeypatch
):
    for name in ("MLFLOW_TRACKING_URI", "DEFECT_API_KEY", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    start_project(tmp_path / "plant")
    *images, later = draw(tmp_path / "images")
    taken = []
    with whole_server(load_config(tmp_path / "plant/config.yaml")) as (_, url):
        page = open_page(f"{url}/page/products")
        way.walk(page, url, way.Parts(images, later), lambda name, _: taken.append(name), way.QUICK | SMALL)
    assert taken == ["product", "labels", "split", "settings", "trained", "inspected", "retrained"]

    config = load_config(tmp_path / "plant/config.yaml", product="washer")
    train, test = (scan_split(config, split).samples for split in ("train_dir", "test_dir"))
    assert len(train) + len(test) == 50
    assert {one.sha256 for one in train}.isdisjoint({one.sha256 for one in test})
    assert len(list((config.root / "data/feedback").rglob("*.png"))) == 1, (
        "the retraining has learned from it"
    )
    found = history(config)
    assert found.in_production is not None
    first = found.entries[-1]
    assert (first.outcome, first.gated) == ("passed", True)
    lines = [json.loads(line) for line in (tmp_path / "plant/trail.jsonl").read_text().splitlines()]
    assert {"product created", "setting changed", "production moved"} <= {line["what"] for line in lines}
