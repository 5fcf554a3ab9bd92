"""Pixel AUROC against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from defect_detection.report.pixel_auroc import pixel_auroc

LABELS = np.array([0, 0, 1, 1, 1])
RNG = np.random.default_rng(0)
MAPS = RNG.normal(0, 1, (5, 4, 4))
MASKS = {2: np.zeros((20, 20), bool), 3: np.zeros((20, 20), bool)}
MASKS[2][:7, 3:9] = True
MASKS[3][12:, 12:] = True
MAPS[2, 0, 1] += 3
MAPS[3, 3, 3] += 3


def test_it_is_the_auroc_of_all_pixels():
    shown = np.kron(MAPS[:4], np.ones((5, 5)))  # image 4 has no mask: it does not count
    truth = np.stack([np.zeros((20, 20), bool)] * 2 + [MASKS[2], MASKS[3]])
    expected = roc_auc_score(truth.ravel(), shown.ravel())
    found = pixel_auroc(MAPS, MASKS, LABELS, np.arange(5))
    assert found.value == pytest.approx(expected)
    assert found.low <= found.value <= found.high


def test_pixels_that_the_model_does_not_see_do_not_count():
    seen = np.arange(20)[:, np.newaxis] + np.zeros(20) < 10
    shown = np.kron(MAPS[:4], np.ones((5, 5)))[:, :10]
    truth = np.stack([np.zeros((20, 20), bool)] * 2 + [MASKS[2], MASKS[3]])[:, :10]
    found = pixel_auroc(MAPS, MASKS, LABELS, np.arange(5), seen=seen)
    assert found.value == pytest.approx(roc_auc_score(truth.ravel(), shown.ravel()))


def test_many_cells_are_binned_with_little_loss():
    maps, labels = RNG.normal(0, 1, (60, 14, 14)), np.ones(60, int)
    masks = {i: RNG.random((28, 28)) < 0.1 for i in range(60)}
    maps += [mask.reshape(14, 2, 14, 2).mean((1, 3)) * 3 for mask in masks.values()]
    expected = roc_auc_score(np.stack(list(masks.values())).ravel(), np.kron(maps, np.ones((2, 2))).ravel())
    assert pixel_auroc(maps, masks, labels, np.arange(60)).value == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("masks", [{}, {2: np.zeros((20, 20), bool)}])
def test_without_a_defective_pixel_there_is_none(masks):
    assert pixel_auroc(MAPS, masks, LABELS, np.arange(5)) is None


def test_one_image_that_is_defective_throughout_has_no_other_pixel():
    assert pixel_auroc(MAPS[2:3], {0: np.ones((20, 20), bool)}, LABELS[2:3], np.arange(1)) is None
