import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from defect_detection.training.folds import Folds
from defect_detection.training.pooled_branch import REGULARIZATIONS, _classifier, _classify, fit_pooled
from tests.model.reference import pooled_logit

RANDOM = np.random.default_rng(0)
LABELS = np.array([0] * 60 + [1] * 20)


def features_of(labels: np.ndarray, n_features: int = 30) -> np.ndarray:
    """Features of which the first three tell defectives; all have scales of their own."""
    values = RANDOM.normal(0, 1, (len(labels), n_features))
    values[:, :3] += 3 * labels[:, None]
    return values * np.logspace(-2, 2, n_features) + 5


def folds_of(labels: np.ndarray, count: int = 4) -> Folds:
    return Folds(np.arange(len(labels)) % count, refit=True)


def fitted(features: np.ndarray, labels: np.ndarray = LABELS, **settings):
    settings = {"regularization": 0.1, "components": 384, **settings}
    return fit_pooled([features], labels, folds_of(labels, 2 if len(labels) < 20 else 4), **settings)[0]


def test_it_tells_new_images_apart():
    pooled = fitted(features_of(LABELS))
    new = pooled_logit(pooled, features_of(LABELS))
    assert ((new > 0) == LABELS).mean() > 0.95


def test_both_labels_count_the_same_however_rare_defects_are():
    labels = np.array([0] * 76 + [1] * 4)
    pooled = fitted(features_of(labels), labels)
    new = features_of(labels := np.array([0] * 500 + [1] * 500))
    wrong = (pooled_logit(pooled, new) > 0) != labels
    assert wrong[labels == 1].mean() < 3 * wrong[labels == 0].mean() + 0.05
    assert pooled.weights.dtype == np.float32


def test_every_image_is_judged_by_a_fit_that_never_saw_it():
    """With labels by chance and more features than images, a fit knows its own images by heart and others not at all."""
    labels = RANDOM.integers(0, 2, 120)
    features = RANDOM.normal(0, 1, (120, 400))
    pooled, held_out = fit_pooled([features], labels, folds_of(labels), regularization=1.0, components=None)
    assert roc_auc_score(labels, pooled_logit(pooled, features)) == 1
    assert roc_auc_score(labels, held_out) == pytest.approx(0.5, abs=0.15)


def test_without_refit_only_the_held_out_images_are_judged_and_they_change_nothing():
    fold = np.where(np.arange(80) % 4 == 0, 0, -1)
    features, folds = features_of(LABELS), Folds(fold, refit=False)
    pooled, held_out = fit_pooled([features], LABELS, folds, regularization=0.1, components=None)
    assert np.isnan(held_out).tolist() == (fold == -1).tolist()
    np.testing.assert_allclose(held_out[fold == 0], pooled_logit(pooled, features)[fold == 0], atol=1e-4)
    features[fold == 0] = 1e3
    same, _ = fit_pooled([features], LABELS, folds, regularization=0.1, components=None)
    np.testing.assert_array_equal(same.weights, pooled.weights)


def test_the_regularization_is_chosen_by_held_out_log_loss():
    features = RANDOM.normal(0, 1, (80, 300))
    features[:, 0] += 2 * LABELS
    settings = {"components": None}
    _, held_out = fit_pooled([features], LABELS, folds_of(LABELS), regularization=None, **settings)
    each = [
        fit_pooled([features], LABELS, folds_of(LABELS), regularization=c, **settings)[1]
        for c in REGULARIZATIONS
    ]
    weights = 1 / np.bincount(LABELS)[LABELS]
    losses = [np.average(np.logaddexp(0, z) - LABELS * z, weights=weights) for z in each]
    np.testing.assert_array_equal(held_out, each[int(np.argmin(losses))])


def test_variants_are_more_images_to_learn_from():
    features = features_of(LABELS)
    twice, _ = fit_pooled(
        [features, features], LABELS, folds_of(LABELS), regularization=0.05, components=None
    )
    once, _ = fit_pooled([features], LABELS, folds_of(LABELS), regularization=0.1, components=None)
    np.testing.assert_allclose(twice.weights, once.weights, rtol=0.02, atol=1e-3)


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


def test_components_of_very_different_size_give_no_warning():
    labels = np.arange(12) % 2
    rotated = RANDOM.normal(0, 1, (1, 12, 5)) * np.logspace(3, 0, 5)
    rotated[0, :, 0] += 2e4 * labels
    weights, _ = _classify(_classifier(), rotated.astype(np.float32), labels, 1.0)
    assert ((rotated[0] @ weights > np.median(rotated[0] @ weights)) == labels).all()


def test_of_many_images_some_decide_the_axes(monkeypatch):
    labels = np.sort(np.tile(LABELS, 5))
    variants = [RANDOM.normal(0, 1, (len(labels), 500)) for _ in range(2)]
    for features in variants:
        features[:, :75] += 2 * labels[:, None]

    def logits(components: int | None) -> np.ndarray:
        settings = {"regularization": 0.1, "components": components}
        return pooled_logit(fit_pooled(variants, labels, folds_of(labels), **settings)[0], variants[0])

    few, every = logits(2), logits(None)
    monkeypatch.setattr("defect_detection.training.pooled_branch._ROWS_OF_AXES", 100)
    assert not np.array_equal(logits(2), few)
    assert roc_auc_score(labels, logits(2)) > 0.9
    np.testing.assert_array_equal(logits(None), every)


def test_components_are_limited():
    features = features_of(LABELS)
    one = fitted(features, components=1)
    direction = one.weights / np.linalg.norm(one.weights)
    standardised = one.standardise(features) - one.standardise(features).mean(0)
    strongest = np.linalg.svd(standardised, full_matrices=False)[2][0]
    assert abs(direction @ strongest) == pytest.approx(1, abs=1e-4)
