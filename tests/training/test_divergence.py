"""A diverging training is detected in its loss, features or scores."""

from pathlib import Path

import numpy as np
import pytest

from defect_detection.config.training import HyperparameterSet
from defect_detection.errors import DivergedError
from defect_detection.training.features import Rows
from defect_detection.training.folds import Folds
from defect_detection.training.frozen import _narrowed
from defect_detection.training.local_branch import fit_local, rotated_cells
from defect_detection.training.pooled_branch import fit_pooled

LABELS = np.arange(16) % 2
FOLDS = Folds(np.arange(16) // 2 % 2, refit=True)


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (16, *shape)).astype(np.float32)


def test_a_loss_that_is_no_number_names_the_epoch_and_the_setting():
    settings = HyperparameterSet(name="x", epochs=3, batch_size=8, learning_rate=1e30, patience=None)
    cells = rotated_cells(Rows(values(2, 2, 4), np.arange(16)), FOLDS.kept, Path())
    with pytest.raises(DivergedError, match=r"(loss|score) after epoch \d is NaN; lower learning_rate$"):
        fit_local(cells, LABELS, FOLDS, settings, 0, lambda *_: None)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_noticed(wrong):
    broken = values(2, 2, 4)
    broken[3, 1, 1, 2] = wrong
    with pytest.raises(DivergedError, match="a feature of the trunk is NaN"):
        rotated_cells(Rows(broken, np.arange(16)), FOLDS.kept, Path())
    with pytest.raises(DivergedError, match="a feature of the trunk is NaN"):
        fit_pooled([broken[:, 1, 1]], LABELS, FOLDS, regularization=1.0, components=None)


def test_a_feature_of_a_held_out_image_that_is_no_number_is_noticed():
    broken = values(4)
    broken[1, 2] = np.nan
    folds = Folds(np.where(np.arange(16) < 4, 0, -1), refit=False)
    with pytest.raises(DivergedError, match="a score of the pooled branch is NaN"):
        fit_pooled([broken], LABELS, folds, regularization=1.0, components=None)


def test_activations_beyond_half_precision_are_not_cached_as_infinite():
    assert _narrowed(np.array([65504.0], np.float32), np.dtype(np.float16)) == 65504
    with pytest.raises(DivergedError, match="exceed 65504; fine-tune the trunk with a lower learning rate"):
        _narrowed(np.array([1e6], np.float32), np.dtype(np.float16))
