"""Products are learned from some of their images, and the others judged: what is easy to learn costs little."""

import numpy as np
import pytest
from keras import ops

from defect_detection.training.episodes import CellEpisode, ImageEpisode

N = 32
LABELS = np.tile([0.0, 1.0], N // 2)[None].astype(np.float32)


def built(layer):
    layer.build()
    return layer


def image_loss(features: np.ndarray, labels: np.ndarray = LABELS) -> float:
    return float(ops.convert_to_numpy(built(ImageEpisode())(features.astype(np.float32), labels)))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_features_that_tell_defective_images_cost_less_than_noise():
    features = noise(1, N, 20)
    telling = features.copy()
    telling[..., :10] += 3 * LABELS[..., None]
    assert image_loss(telling) < 0.1 < 0.6 < image_loss(features)


def test_each_image_is_judged_by_the_others_only():
    """Against the regression fitted anew without each image."""
    features, episode = noise(1, N, 5), built(ImageEpisode())
    x = (features[0] - features[0].mean(0)) / (features[0].std(0) + 0.02)
    x = np.clip(x, -6, 6)
    kernel, targets, answers = x @ x.T / 5 + 0.1, LABELS[0] * 2 - 1, []
    stiffness = float(ops.convert_to_numpy(episode.stiffness))
    for image in range(N):
        others = np.arange(N) != image
        solution = np.linalg.solve(
            kernel[np.ix_(others, others)] + stiffness * np.eye(N - 1), targets[others]
        )
        answers.append(kernel[image, others] @ solution)
    logits = 4 * np.clip(answers, -3, 3)
    expected = np.mean(np.logaddexp(0, logits) - LABELS[0] * logits)
    assert float(ops.convert_to_numpy(episode(features, LABELS))) == pytest.approx(expected, rel=1e-3)


def test_a_product_with_hardly_any_defective_image_teaches_nothing():
    assert image_loss(noise(1, N, 5), np.eye(1, N, dtype=np.float32)) == 0


def test_cells_that_tell_defects_cost_less_than_noise_and_so_do_their_images():
    labels = np.zeros((1, N, 36), np.float32)
    labels[:, 1::2, 7] = 1
    cells = noise(1, N, 36, 12)
    telling = cells.copy()
    telling[..., :6] += 4 * labels[..., None]
    (good_cells, good_images), (bad_cells, bad_images) = (
        [float(ops.convert_to_numpy(loss)) for loss in built(CellEpisode(seed=0))(some, labels)]
        for some in (telling, cells)
    )
    assert good_cells < 0.7 * bad_cells
    assert good_images < bad_images
