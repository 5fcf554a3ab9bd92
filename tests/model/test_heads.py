"""The head in the graph computes what training measured in NumPy."""

import keras
import numpy as np
import pytest

from defect_detection.model.forms import outputs_of
from defect_detection.model.graph import build_features, build_inspector
from defect_detection.model.heads import (
    DISTANCES,
    Calibration,
    Head,
    Local,
    Novelty,
    Pooled,
    Scale,
    Standardise,
    judge_cells,
    pooled_features,
    write_local,
)
from defect_detection.model.trunks import Trunk, build_trunk
from tests.model.reference import local_logit, pooled_logit

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (3, 64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def trunk() -> Trunk:
    return build_trunk("compact", "procedural", 64)


@pytest.fixture(scope="module")
def features(trunk: Trunk) -> dict[str, np.ndarray]:
    return outputs_of(build_features(trunk), IMAGES)


def standardise(values: np.ndarray) -> Standardise:
    flat = values.reshape(-1, values.shape[-1])
    return Standardise.fit(flat.mean(0), flat.var(0))


def random_local(cells: np.ndarray, n_hidden: int = 8) -> Local:
    hidden = RANDOM.normal(0, 0.1, (cells.shape[-1], n_hidden)).astype(np.float32)
    vectors = RANDOM.normal(0, 1, (3, n_hidden)).astype(np.float32)
    return Local(standardise(cells), hidden, vectors[0], vectors[1], 0.3, vectors[2])


def random_pooled(values: np.ndarray) -> Pooled:
    return Pooled(standardise(values), RANDOM.normal(0, 0.05, values.shape[1]).astype(np.float32), -0.2)


def logit(score: np.ndarray) -> np.ndarray:
    return np.log(score / (1 - score))


def test_the_local_branch_gives_the_same_logit_in_the_graph(features):
    local = random_local(features["cells"])
    inputs = keras.Input(features["cells"].shape[1:])
    model = keras.Model(inputs, judge_cells(inputs, 8))
    write_local(model, local)
    evidence, logits = model.predict(local.standardise(features["cells"]), verbose=0)
    assert evidence.shape == (3, 4, 4)
    np.testing.assert_allclose(logits, local_logit(local, features["cells"]), atol=1e-4)


@pytest.mark.parametrize("branches", [("pooled",), ("local",), ("pooled", "local")])
def test_the_score_is_the_calibrated_sum_of_the_branches(trunk, features, branches):
    pooled = random_pooled(features["pooled"]) if "pooled" in branches else None
    local = random_local(features["cells"]) if "local" in branches else None
    calibration = Calibration(pooled=0.7, local=0.4, bias=-0.1)
    outputs = outputs_of(build_inspector(trunk, Head(pooled, local, calibration)), IMAGES)
    expected = np.full(3, calibration.bias)
    if pooled:
        expected += calibration.pooled * pooled_logit(pooled, features["pooled"])
    if local:
        expected += calibration.local * local_logit(local, features["cells"])
    assert outputs["evidence"].shape == (3, 4, 4)
    np.testing.assert_allclose(logit(outputs["score"]), expected, atol=2e-3)


def random_novelty(features: dict[str, np.ndarray], n_statistics: int) -> Novelty:
    height, width, channels = features["cells"].shape[1:]
    arrays = [
        RANDOM.normal(0, 0.1, shape).astype(np.float32)
        for shape in ((channels, 4), (6, 4), (height * width, 4, 4), (height * width, 4), (n_statistics, 3))
    ]
    pooled = standardise(features["pooled"][:, :n_statistics])
    scales = {name: Scale(weight, 0.2, 0.7) for name, weight in zip(DISTANCES, (0.6, 0.9, 1.5), strict=True)}
    return Novelty(standardise(features["cells"]), *arrays[:4], pooled, arrays[4], scales, 8.0, 0.5)


@pytest.mark.parametrize("branches", [("pooled",), ("pooled", "local")])
def test_novelty_beside_a_classifier_adds_to_score_and_evidence_with_one_weight(trunk, features, branches):
    pooled = random_pooled(features["pooled"])
    local = random_local(features["cells"]) if "local" in branches else None
    n_statistics = 3 * sum(level.shape[-1] for level in trunk.model.outputs)
    novelty = random_novelty(features, n_statistics)

    def outputs(weight):
        head = Head(pooled, local, Calibration(0.7, 0.4, -0.1, novelty=weight), novelty)
        return outputs_of(build_inspector(trunk, head), IMAGES)

    without, joined, twice = outputs(0.0), outputs(0.6), outputs(1.2)
    np.testing.assert_array_equal(joined["novelty"], without["novelty"])
    added = logit(joined["score"]) - logit(without["score"])
    np.testing.assert_allclose(added, 0.6 * without["novelty"], atol=2e-3)
    shown = joined["evidence"] - without["evidence"]
    assert shown.std() > 0.01
    np.testing.assert_allclose(twice["evidence"] - without["evidence"], 2 * shown, atol=1e-3)


def test_narrow_levels_add_the_covariances_of_their_channels():
    maps = [RANDOM.normal(1, 2, (2, 4, 5, channels)).astype(np.float32) for channels in (3, 96, 97)]
    found = keras.ops.convert_to_numpy(pooled_features([keras.ops.convert_to_tensor(one) for one in maps]))
    statistics = 3 * (3 + 96 + 97)
    assert found.shape == (2, statistics + 3 + 96 * 95 // 2)
    for image, row in zip(maps[0], found, strict=True):
        expected = np.cov(image.reshape(-1, 3), rowvar=False, bias=True)
        np.testing.assert_allclose(row[statistics:][:3], expected[np.triu_indices(3, 1)], rtol=1e-4)


def test_a_pooled_models_evidence_adds_up_to_what_it_says_of_the_means(trunk, features):
    """With weights on the means only, the average of the map is the logit itself."""
    pooled = random_pooled(features["pooled"])
    weights, start = np.zeros_like(pooled.weights), 0
    for channels in (output.shape[-1] for output in trunk.model.outputs):
        weights[start : start + channels] = pooled.weights[start : start + channels]
        start += 3 * channels
    head = Head(Pooled(pooled.standardise, weights, pooled.bias), None, Calibration(0.5, 0.0, 0.2))
    outputs = outputs_of(build_inspector(trunk, head), IMAGES)
    np.testing.assert_allclose(outputs["evidence"].mean((1, 2)), logit(outputs["score"]), atol=2e-3)


def test_an_even_map_gives_the_same_logit_at_any_size():
    cells = np.ones((1, 1, 1, 6), np.float32)
    local = random_local(RANDOM.normal(size=(4, 6)).astype(np.float32))
    logits = [local_logit(local, np.tile(cells, (1, side, side, 1)))[0] for side in (1, 4, 9)]
    assert logits == pytest.approx([logits[0]] * 3, abs=1e-5)


def test_a_channel_that_hardly_varies_is_not_blown_up():
    values = RANDOM.normal(0, 1, (50, 4)).astype(np.float32)
    values[:, 0] = 1.0
    values[0, 0] += 1e-6
    assert np.abs(standardise(values)(values)[:, 0]).max() < 1e-2


def test_a_feature_far_outside_is_clipped():
    fitted = Standardise(np.zeros(2, np.float32), np.ones(2, np.float32))
    np.testing.assert_array_equal(fitted(np.array([[1e9, -1e9]])), [[6, -6]])
