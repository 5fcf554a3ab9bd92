"""The local branch finds a small spot, and is measured on held-out images."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from defect_detection.config.training import HyperparameterSet
from defect_detection.model.heads import Local
from defect_detection.training.features import Rows
from defect_detection.training.fit import Examples
from defect_detection.training.folds import Folds
from defect_detection.training.local_branch import fit_local, rotated_cells
from tests.model.reference import local_logit

SETTINGS = HyperparameterSet(
    name="tried", epochs=15, patience=None, batch_size=8, learning_rate=0.02, hidden_units=8, dropout=0.0
)
LABELS = np.arange(60) % 2


def maps(seed: int, labels: np.ndarray = LABELS) -> np.ndarray:
    """Noise (n, 4, 4, 6); a defective image has one cell that stands out in two channels."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (len(labels), 4, 4, 6)).astype(np.float32)
    for index in np.flatnonzero(labels):
        values[index, rng.integers(4), rng.integers(4), :2] += 5
    return values


def fitted(
    values: np.ndarray, folds: Folds, labels: np.ndarray = LABELS, **changes
) -> tuple[Local, np.ndarray, list]:
    epochs: list[dict[str, float]] = []
    cells = rotated_cells(Rows(values, np.arange(len(values))), folds.kept, Path())
    settings = SETTINGS.model_copy(update=changes)
    local, held_out = fit_local(
        cells, labels, folds, settings, 0, lambda epoch, metrics: epochs.append(dict(metrics))
    )
    return local, held_out, epochs


def test_the_kept_fit_and_every_fold_find_the_spot():
    values = maps(0)
    local, held_out, epochs = fitted(values, Folds(np.arange(60) // 2 % 3, refit=True))
    assert roc_auc_score(LABELS, local_logit(local, maps(1))) > 0.95
    assert roc_auc_score(LABELS, held_out) > 0.9
    assert len(epochs) == SETTINGS.epochs


def test_labels_by_chance_are_learned_by_heart_but_not_out_of_fold():
    labels = np.random.default_rng(3).integers(0, 2, 60)
    values = np.random.default_rng(4).normal(0, 1, (60, 4, 4, 6)).astype(np.float32)
    _, held_out, _ = fitted(values, Folds(np.arange(60) % 3, refit=True), labels, hidden_units=32, epochs=8)
    assert roc_auc_score(labels, held_out) == pytest.approx(0.5, abs=0.2)


def test_without_refit_the_kept_fit_held_validation_out_and_the_same_seed_gives_the_same_scores():
    values, folds = maps(0), Folds(np.where(np.arange(60) < 40, -1, 0), refit=False)
    changes = {"learning_rate": 0.1, "dropout": 0.3, "patience": 1}
    (local, held_out, epochs), (_, again, _) = (fitted(values, folds, **changes) for _ in range(2))
    assert len(epochs) < SETTINGS.epochs, "the last epoch is not the best"
    assert np.isnan(held_out[:40]).all()
    np.testing.assert_allclose(held_out[40:], local_logit(local, values)[40:], atol=0.05)  # half precision
    np.testing.assert_array_equal(held_out, again)


def test_training_stops_after_so_many_epochs_without_a_lower_loss_and_keeps_the_best():
    """At this rate the training soon learns by heart; what is returned is its best moment, not its end."""
    values = maps(0)
    values[:, ..., :2] *= 0.45  # hard to see
    folds = Folds(np.arange(60) // 2 % 3, refit=True)
    _, held_out, epochs = fitted(values, folds, learning_rate=0.03, hidden_units=64, patience=3)
    losses = [epoch["val_loss"] for epoch in epochs]
    assert len(losses) == np.argmin(losses) + 1 + 3 < SETTINGS.epochs
    assert min(losses) < losses[-1]
    assert np.mean(np.logaddexp(0, held_out) - LABELS * held_out) == pytest.approx(min(losses), abs=1e-4)


def test_in_every_fit_both_labels_count_the_same_and_held_out_images_nothing():
    labels = np.array([0, 0, 0, 1, 0, 0, 0, 1])
    weights = Examples({}, labels, Folds(np.array([0, 0, 0, 0, 1, 1, 1, 1]), refit=True)).weights()
    assert weights[:4, 0].tolist() == [0, 0, 0, 0]
    for fit in range(3):
        assert weights[labels == 1, fit].sum() == pytest.approx(weights[labels == 0, fit].sum())
