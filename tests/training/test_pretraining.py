from pathlib import Path

import keras
import numpy as np
import pytest

from defect_detection.data.procedural.bank import Bank, Products
from defect_detection.data.procedural.cells import cell_targets
from defect_detection.data.procedural.defects import DEFECT_NAMES
from defect_detection.data.procedural.products import N_IMAGES
from defect_detection.data.procedural.scene import N_BACKGROUNDS
from defect_detection.model.trunks import build_trunk
from defect_detection.training.pretraining import Pretraining, Recipe, Views, pretrain, recolour, scene_loss

RECIPE = Recipe(
    size_px=40,
    crop_px=32,
    steps=32,
    steps_per_epoch=16,
    scenes_per_step=4,
    products_per_step=1,
    precision="float32",
    seed=3,
)
VIEWS = 2 * RECIPE.scenes_per_step


@pytest.fixture(scope="module")
def products() -> Products:
    """Four products; the defective images have a bright square in a cell."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 60, (4, N_IMAGES, 40, 40, 3), dtype=np.uint8)
    cells = np.zeros((4, N_IMAGES, 5, 5), np.uint16)
    for product, rows in zip(images, cells, strict=True):
        for image, row in zip(product[1::2], rows[1::2], strict=True):
            y, x = rng.integers(1, 4, size=2)
            image[8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = 250
            row[y, x] = 1 << 2
    return Products(images, cells, cells > 0)


@pytest.fixture(scope="module")
def views(bank: Bank, products: Products) -> Views:
    return Views(bank, products, RECIPE)


@pytest.fixture(scope="module")
def bank() -> Bank:
    """Dark images with a bright square in a cell, which is the only cell with a defect."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (64, 40, 40, 3), dtype=np.uint8)
    cells = np.zeros((64, 5, 5), np.uint16)
    for image, row in zip(images, cells, strict=True):
        y, x = rng.integers(1, 4, size=2)  # in every window of 4 x 4 cells
        image[8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = 250
        row[y, x] = 1 << 2
    return Bank(images, cells, rng.integers(0, N_BACKGROUNDS, 64).astype(np.int16))


def test_cell_targets_have_one_channel_a_type_and_one_for_any():
    targets = cell_targets(np.array([[[0, 0b101]]], np.uint16))
    assert targets.shape == (1, 1, 2, len(DEFECT_NAMES) + 1)
    assert targets[0, 0, 0].sum() == 0
    assert np.flatnonzero(targets[0, 0, 1]).tolist() == [0, 2, len(DEFECT_NAMES)]


def test_turns_move_the_cells_with_the_image(views):
    for index in range(8):
        images, targets = views[index]
        assert images.shape == (VIEWS + N_IMAGES, 32, 32, 3)
        gray = images.astype(float).mean(-1).reshape(-1, 4, 8, 4, 8).mean((2, 4))
        unlike = np.abs(gray - np.median(gray, axis=(1, 2), keepdims=True)).reshape(len(images), -1)
        touched = targets["cells"][..., -1].reshape(len(images), -1)
        some = touched.any(1)
        assert some[:VIEWS].all() and some[VIEWS:].sum() == N_IMAGES / 2
        assert (unlike.argmax(1) == touched.argmax(1))[some].all()
        np.testing.assert_array_equal(targets["defective"].reshape(N_IMAGES, -1), touched[VIEWS:])


def test_batches_are_the_same_for_the_same_seed_and_step(bank, products):
    first, second = (Views(bank, products, RECIPE)[5] for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])


def test_the_second_views_follow_the_first_in_the_same_order(views):
    _, targets = views[0]
    np.testing.assert_array_equal(targets["background"][:4], targets["background"][4:])
    np.testing.assert_array_equal(targets["defects"], targets["cells"].max((1, 2)))


def test_views_of_one_scene_that_look_alike_cost_less_than_strangers():
    each = np.eye(8, dtype=np.float32)[:4]
    alike = keras.ops.convert_to_numpy(scene_loss(np.concatenate([each, each])))
    strangers = keras.ops.convert_to_numpy(scene_loss(np.concatenate([each, each[::-1]])))
    assert alike < 0.1 < 4 < strangers


def test_the_learning_rate_rises_stays_whatever_the_length_and_falls_at_the_end():
    long, short = Recipe(steps=10_000), Recipe(steps=5_000)
    assert long.rate(0) < long.rate(100) < long.rate(299) == long.learning_rate
    assert [long.rate(step) for step in (0, 100, 3_000)] == [short.rate(step) for step in (0, 100, 3_000)]
    assert long.rate(7_000) == long.learning_rate > long.rate(8_500) > long.rate(9_999) > 0


def test_the_trained_trunk_has_every_task_on_top_of_it():
    model = Pretraining(RECIPE)
    shapes = {name: output.shape[1:] for name, output in model.output.items()}
    n_defects = len(DEFECT_NAMES) + 1
    assert {name: shapes[name] for name in ("cells", "defects", "background", "scene")} == {
        "cells": (4, 4, n_defects), "defects": (n_defects,), "background": (N_BACKGROUNDS,), "scene": (128,)
    }  # fmt: skip
    assert shapes["grid"][:2] == (2, 2)


def test_what_is_gone_on_with_depends_on_the_recipe_but_not_on_its_length():
    assert Recipe(steps=10).digest == Recipe(steps=20).digest
    assert len({Recipe().digest, Recipe(seed=1).digest, Recipe(learning_rate=1e-3).digest}) == 3


def test_recolouring_keeps_shape_and_range(bank):
    recoloured = recolour(np.random.default_rng(1), bank.images[:8])
    assert recoloured.dtype == np.uint8
    assert recoloured.shape == (8, 40, 40, 3)


def test_pretraining_learns_and_goes_on_after_its_end_without_training_again(views, tmp_path: Path):
    steps: list[int] = []
    weights = tmp_path / "weights.npz"
    figures = pretrain(views, tmp_path / "state", weights, lambda done, total: steps.append(done))
    assert steps == list(range(1, 33))
    trunk = build_trunk("compact", weights, 32)
    random = build_trunk("compact", None, 32)
    assert trunk.fingerprint != random.fingerprint
    assert {"loss", "cells_loss", "product_loss", "product_cells_loss"} <= set(figures)
    assert np.isfinite(list(figures.values())).all()

    again: list[int] = []
    pretrain(views, tmp_path / "state", weights, lambda done, total: again.append(done))
    assert again == [], "a finished training isn't repeated"


def test_pretraining_that_was_stopped_goes_on_where_it_was(views, tmp_path: Path):
    steps: list[int] = []

    def stop(done: int, total: int) -> None:
        steps.append(done)
        if done == 20:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        pretrain(views, tmp_path / "state", tmp_path / "weights.npz", stop)
    assert not (tmp_path / "weights.npz").exists()
    steps.clear()
    pretrain(views, tmp_path / "state", tmp_path / "weights.npz", lambda done, total: steps.append(done))
    assert steps == list(range(17, 33)), "from the last whole epoch on"
