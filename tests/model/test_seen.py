"""Padding and what a mask hides count for nothing: in statistics, cells, novelty, evidence, and in every form of the model."""

import keras
import numpy as np
import pytest

from defect_detection.data.framing import HIDDEN, Framing, png_of_hidden
from defect_detection.inference.runtime import Runtime
from defect_detection.model.forms import load_keras, outputs_of, to_openvino
from defect_detection.model.graph import build_features, build_inspector
from defect_detection.model.heads import Calibration, Head, Local, Pooled, Standardise
from defect_detection.model.trunks import Trunk
from defect_detection.training.features import Rows
from defect_detection.training.flips import symmetries
from defect_detection.training.local_branch import rotated_cells
from defect_detection.training.novelty_branch import learn_usual, novelty_of

RANDOM = np.random.default_rng(0)
SIZE = (48, 64)
N = 24


@pytest.fixture(scope="module")
def framing() -> Framing:
    """Eight rows of padding at both ends, and a hidden corner of which no cell or half a cell is left."""
    hidden = np.zeros(SIZE, bool)
    hidden[8:32, :40] = True
    return Framing(size=SIZE, content=(32, 64), hidden=png_of_hidden(hidden))


@pytest.fixture(scope="module")
def trunk() -> Trunk:
    """Two layers with one map each, of 4 and 8 px a position; each position also sees pixels of its neighbours."""
    image = keras.Input((*SIZE, 3), dtype="uint8", name="image")
    x, maps = keras.layers.Rescaling(1 / 127.5, -1)(image), []
    for name, channels, side, stride in (("fine", 8, 7, 4), ("coarse", 12, 3, 2)):
        own = {"name": name, "kernel_initializer": keras.initializers.GlorotUniform(seed=channels)}
        layer = keras.layers.Conv2D(channels, side, stride, padding="same", activation="relu", **own)
        maps.append(x := layer(x))
    return Trunk(keras.Model([image], maps), ("fine", "coarse"), "small", None, "")


@pytest.fixture(scope="module")
def images(framing: Framing) -> np.ndarray:
    images = RANDOM.integers(0, 256, (N, *SIZE, 3), np.uint8)
    images[:, ~framing.shown] = HIDDEN
    return images


@pytest.fixture(scope="module")
def fitted(trunk: Trunk, framing: Framing, images: np.ndarray, tmp_path_factory):
    """A head with all branches, and the novelty of the images as the arrays say it."""
    features = outputs_of(build_features(trunk, framing.seen), images)
    rows = {name: Rows(values, np.arange(N)) for name, values in features.items()}
    folder = tmp_path_factory.mktemp("cells")
    cells = rotated_cells(rows["cells"], np.arange(N), folder, framing.seen)
    n_features = 3 * sum(level.shape[-1] for level in trunk.model.outputs)
    usual = learn_usual(cells, rows["pooled"], np.arange(N - 4), np.full(N, -1), n_features, 0)
    logarithms = usual.held_out(cells.rows, rows["pooled"], np.full(N, -1))
    novelty = novelty_of(usual, cells, logarithms[:-4], logarithms[-4:])
    pooled = features["pooled"]
    weights = RANDOM.normal(0, 0.3 / np.sqrt(pooled.shape[1]), pooled.shape[1]).astype(np.float32)
    hidden = RANDOM.normal(0, 0.05, (features["cells"].shape[-1], 8)).astype(np.float32)
    vectors = RANDOM.normal(0, 1, (3, 8)).astype(np.float32)
    head = Head(
        Pooled(Standardise.fit(pooled.mean(0), pooled.var(0)), weights, 0.1),
        Local(cells.standardise, hidden, vectors[0], vectors[1], 0.0, vectors[2]),
        Calibration(),
        novelty,
    )
    return head, novelty(logarithms)


@pytest.fixture(scope="module")
def model(trunk, framing, fitted, tmp_path_factory):
    """The inspector as it is loaded again."""
    path = tmp_path_factory.mktemp("model") / "model.keras"
    build_inspector(trunk, fitted[0], framing).save(path)
    return load_keras(path)


def with_other_hidden_pixels(images: np.ndarray, framing: Framing) -> np.ndarray:
    other = images.copy()
    other[:, ~framing.shown] = RANDOM.integers(0, 256, (len(images), int((~framing.shown).sum()), 3))
    return other


def test_hidden_pixels_change_no_output(model, framing, images, tmp_path):
    """Of Keras and of OpenVINO. ONNX and LiteRT: tests/use_cases/test_export.py."""
    other = with_other_hidden_pixels(images, framing)
    expected, found = (outputs_of(model, each) for each in (images, other))
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    to_openvino(model, tmp_path / "model.xml")
    runtime = Runtime(tmp_path / "model.xml")
    score = runtime(images)["score"]
    np.testing.assert_array_equal(runtime(other)["score"], score)
    np.testing.assert_allclose(score, expected["score"], atol=1e-4)


def test_a_defect_that_is_seen_changes_the_score(model, images):
    other = images[:1].copy()
    other[:, 28:40, 44:60] = 0
    seen, before = (outputs_of(model, each)["score"] for each in (other, images[:1]))
    assert abs(float(seen[0] - before[0])) > 1e-4


def test_statistics_are_those_of_the_cells_that_count(trunk, framing, images):
    pooled = outputs_of(build_features(trunk, framing.seen), images)["pooled"]
    level = np.asarray(trunk.model([images])[0])  # the finest: 4 px a position
    counts = framing.seen.reshape(12, 4, 16, 4).any((1, 3))
    channels = level.shape[-1]
    some = level[:, counts]
    for number, expected in enumerate((some.mean(1), np.sqrt(some.var(1) + 1e-5), some.max(1))):
        part = pooled[:, number * channels : (number + 1) * channels]
        np.testing.assert_allclose(part, expected, rtol=2e-3, atol=2e-3)


def test_the_graph_measures_the_novelty_that_training_measured(model, fitted, images):
    found = outputs_of(model, images)["novelty"][
        -4:
    ]  # the others are in the bank: their distance is what rounding leaves
    np.testing.assert_allclose(found, fitted[1][-4:], rtol=2e-2, atol=5e-2)


def test_the_evidence_of_what_does_not_count_is_the_lowest(model, images):
    evidence = outputs_of(model, images)["evidence"]
    assert evidence.shape == (N, 3, 4)
    np.testing.assert_array_equal(evidence[:, 0, :2], np.repeat(evidence.min((1, 2))[:, None], 2, 1))


def test_images_are_turned_only_where_that_changes_nothing_that_is_seen(framing):
    assert symmetries((64, 64), None) == tuple(range(8))
    assert symmetries((48, 64), None) == (0, 2, 4, 6)
    assert symmetries(framing.size, framing.seen) == (0,)
