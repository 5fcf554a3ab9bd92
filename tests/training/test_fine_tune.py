from pathlib import Path

import numpy as np
import pytest
from plant import LEVELS

from defect_detection.config.training import HyperparameterSet
from defect_detection.data.cache import RowStore
from defect_detection.errors import ConfigError
from defect_detection.model.trunks import build_trunk
from defect_detection.training.fine_tune import fine_tune
from defect_detection.training.folds import Folds

SIDE = 32
SETTINGS = {
    "name": "tried",
    "epochs": 4,
    "fine_tune_epochs": 2,
    "batch_size": 8,
    "hidden_units": 8,
    "dropout": 0.0,
}


@pytest.fixture
def pixels(tmp_path: Path) -> tuple[RowStore, list[str], np.ndarray]:
    """Sixty-four grainy images, every second with a bright square: the store, its keys and the labels."""
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 2
    images = rng.integers(90, 110, (64, SIDE, SIDE, 3)).astype(np.uint8)
    for number in np.flatnonzero(labels):
        y, x = rng.integers(0, SIDE - 10, 2)
        images[number, y : y + 10, x : x + 10] = 250
    store = RowStore(tmp_path / "pixels", (SIDE, SIDE, 3), np.uint8)
    keys = [f"image {number}" for number in range(64)]
    store.append(keys, images)
    return store, keys, labels


def tuned(trunk, pixels, tmp_path: Path, **changes):
    store, keys, labels = pixels
    settings = HyperparameterSet(**{**SETTINGS, **changes})
    epochs: list[dict[str, float]] = []
    folds = Folds(np.repeat([-1, 0], [48, 16]), refit=False)
    made = fine_tune(
        trunk,
        settings,
        keys,
        labels,
        folds,
        store,
        tmp_path / "cache",
        0,
        lambda epoch, metrics: epochs.append(dict(metrics)),
    )
    return made, epochs


def test_a_trunk_trained_from_random_weights_learns_from_the_pixels(pixels, tmp_path):
    trunk = build_trunk("compact", None, SIDE, LEVELS[:1])
    kernel = np.array(trunk.model.get_layer("stem_conv").kernel)
    made, epochs = tuned(trunk, pixels, tmp_path, weights=None, patience=None, learning_rate=0.003)
    assert len(epochs) == SETTINGS["epochs"]
    assert epochs[-1]["loss"] < epochs[0]["loss"]
    assert epochs[-1]["val_auroc"] > 0.9
    assert made.weights == "fine-tuned random"
    assert made.fingerprint != trunk.fingerprint
    assert not np.array_equal(made.model.get_layer("stem_conv").kernel, kernel), (
        "not only the head has learned"
    )
    assert not (tmp_path / "cache").exists(), "nothing is frozen, so nothing is cached"


def test_only_the_part_from_the_named_stage_up_changes(pixels, tmp_path):
    trunk = build_trunk("compact", "procedural", SIDE, LEVELS)
    before = {weight.path: np.array(weight) for weight in trunk.model.weights}
    made, epochs = tuned(trunk, pixels, tmp_path, trainable_from="level1")
    changed = {
        weight.path
        for weight in made.model.weights
        if not np.array_equal(before[weight.path], np.array(weight))
    }
    assert {path.split("/")[0] for path in changed} >= {
        "level1_down_conv",
        "level1_a_conv",
        "level1_b_conv",
    }
    assert all(path.startswith("level1") for path in changed)
    assert not any("moving" in path for path in changed), "normalisation stays in inference mode"
    assert len(epochs) == 2


def test_an_unknown_layer_is_named(pixels, tmp_path):
    with pytest.raises(ConfigError, match="trainable_from: trunk compact has no layer 'level9'"):
        tuned(build_trunk("compact", None, SIDE, LEVELS[:1]), pixels, tmp_path, trainable_from="level9")
