from pathlib import Path

import numpy as np
import pytest

from defect_detection.data.procedural.bank import Bank, cell_targets
from defect_detection.data.procedural.defects import DEFECT_NAMES
from defect_detection.data.procedural.scene import N_BACKGROUNDS
from defect_detection.model.trunks import build_trunk
from defect_detection.training.pretraining import Augmented, Recipe, pretrain, recolour

RECIPE = Recipe(size_px=32, steps=32, steps_per_epoch=16, batch_size=8, seed=3)


@pytest.fixture(scope="module")
def bank() -> Bank:
    """Dark images with a bright square in a cell, which is the only cell with a defect."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (64, 32, 32, 3), dtype=np.uint8)
    cells = np.zeros((64, 4, 4), np.uint16)
    for image, row in zip(images, cells, strict=True):
        y, x = rng.integers(4, size=2)
        image[8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = 250
        row[y, x] = 1 << 2
    return Bank(images, cells, rng.integers(0, N_BACKGROUNDS, 64).astype(np.int16))


def test_cell_targets_have_one_channel_a_type_and_one_for_any():
    targets = cell_targets(np.array([[[0, 0b101]]], np.uint16))
    assert targets.shape == (1, 1, 2, len(DEFECT_NAMES) + 1)
    assert targets[0, 0, 0].sum() == 0
    assert np.flatnonzero(targets[0, 0, 1]).tolist() == [0, 2, len(DEFECT_NAMES)]


def test_turns_move_the_cells_with_the_image(bank):
    batches = Augmented(bank, RECIPE)
    for index in range(8):
        images, targets = batches[index]
        gray = images.astype(float).mean(-1).reshape(8, 4, 8, 4, 8).mean((2, 4))
        unlike = np.abs(gray - np.median(gray, axis=(1, 2), keepdims=True))
        assert (unlike.reshape(8, -1).argmax(1) == targets["cells"][..., -1].reshape(8, -1).argmax(1)).all()


def test_batches_are_the_same_for_the_same_seed_and_step(bank):
    first, second = Augmented(bank, RECIPE)[5], Augmented(bank, RECIPE)[5]
    np.testing.assert_array_equal(first[0], second[0])


def test_recolouring_keeps_shape_and_range(bank):
    recoloured = recolour(np.random.default_rng(1), bank.images[:8])
    assert recoloured.dtype == np.uint8
    assert recoloured.shape == (8, 32, 32, 3)


def test_pretraining_learns_and_goes_on_after_its_end_without_training_again(bank, tmp_path: Path):
    steps: list[int] = []
    weights = tmp_path / "weights.npz"
    figures = pretrain(bank, RECIPE, tmp_path / "state", weights, lambda done, total: steps.append(done))
    assert steps == list(range(1, 33))
    trunk = build_trunk("compact", weights, 32)
    random = build_trunk("compact", None, 32)
    assert trunk.fingerprint != random.fingerprint
    assert np.isfinite(list(figures.values())).all()

    again: list[int] = []
    pretrain(bank, RECIPE, tmp_path / "state", weights, lambda done, total: again.append(done))
    assert again == [], "a finished training isn't repeated"
