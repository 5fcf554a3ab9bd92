import numpy as np
import pytest

from defect_detection.training.pooled import fit_pooled, pooled_logit

RANDOM = np.random.default_rng(0)
LABELS = np.array([0] * 60 + [1] * 20)


def features_of(labels: np.ndarray, n_features: int = 30) -> np.ndarray:
    """Features of which the first three tell defectives; all have scales of their own."""
    values = RANDOM.normal(0, 1, (len(labels), n_features))
    values[:, :3] += 3 * labels[:, None]
    return values * np.logspace(-2, 2, n_features) + 5


def fitted(features: np.ndarray, labels: np.ndarray = LABELS, **settings):
    return fit_pooled(features, labels, **{"regularization": 0.1, "components": 384, **settings})


def test_it_tells_new_images_apart():
    pooled = fitted(features_of(LABELS))
    new = pooled_logit(pooled, features_of(LABELS))
    assert ((new > 0) == LABELS).mean() > 0.95


def test_both_labels_count_the_same_however_rare_defects_are():
    logits = pooled_logit(pooled := fitted(features := features_of(LABELS)), features)
    assert logits[LABELS == 1].mean() == pytest.approx(-logits[LABELS == 0].mean(), abs=1e-4)
    assert pooled.weights.dtype == np.float32


def test_the_unit_of_a_feature_does_not_matter():
    features = features_of(LABELS)
    scales = np.logspace(3, -3, features.shape[1])
    plain = pooled_logit(fitted(features), features)
    scaled = pooled_logit(fitted(features * scales), features * scales)
    np.testing.assert_allclose(plain, scaled, atol=0.05)


def test_fewer_images_than_features_and_constant_features_are_fine():
    labels = np.array([0, 0, 0, 1, 1])
    features = features_of(labels, 200)
    features[:, 50:60] = 7.0
    logits = pooled_logit(fitted(features, labels), features)
    assert np.isfinite(logits).all()
    assert ((logits > 0) == labels).all()


def test_components_are_limited():
    features = features_of(LABELS)
    one = fitted(features, components=1)
    direction = one.weights / np.linalg.norm(one.weights)
    standardised = one.standardise(features) - one.standardise(features).mean(0)
    strongest = np.linalg.svd(standardised, full_matrices=False)[2][0]
    assert abs(direction @ strongest) == pytest.approx(1, abs=1e-4)
