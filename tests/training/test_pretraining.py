import inspect
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow
from step_by_step import step_by_step

from defect_detection.cli.training import pretrain as pretrain_command
from defect_detection.model.trunks import COMPACT_CHANNELS, COMPACT_LEVELS, Trunk, load_npz
from defect_detection.synthetic.bank import Bank, cell_targets
from defect_detection.synthetic.defects import DEFECT_NAMES
from defect_detection.synthetic.scene import N_BACKGROUNDS
from defect_detection.training import pretraining
from defect_detection.training.pretraining import (
    Views,
    build_model,
    compile_model,
    defect_loss,
    pretrain,
    recolour,
    scene_loss,
)
from defect_detection.training.recipe import Recipe

RECIPE = Recipe(
    size_px=40, crop_px=32, steps=32, steps_per_epoch=16, scenes_per_step=4, precision="float32", seed=3
)


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


def test_turns_move_the_cells_with_the_image(bank):
    batches = Views(bank, RECIPE)
    for index in range(8):
        images, targets = batches[index]
        gray = images.astype(float).mean(-1).reshape(8, 4, 8, 4, 8).mean((2, 4))
        unlike = np.abs(gray - np.median(gray, axis=(1, 2), keepdims=True))
        assert (unlike.reshape(8, -1).argmax(1) == targets["cells"][..., -1].reshape(8, -1).argmax(1)).all()


def test_batches_are_the_same_for_the_same_seed_and_step(bank):
    first, second = Views(bank, RECIPE)[5], Views(bank, RECIPE)[5]
    np.testing.assert_array_equal(first[0], second[0])


def test_the_second_views_follow_the_first_in_the_same_order(bank):
    images, targets = Views(bank, RECIPE)[0]
    assert images.shape == (8, 32, 32, 3)
    assert targets["scene"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    np.testing.assert_array_equal(targets["background"][:4], targets["background"][4:])
    np.testing.assert_array_equal(targets["defects"], targets["cells"].max((1, 2)))


def test_views_of_one_scene_that_look_alike_cost_less_than_strangers():
    each = np.eye(8, dtype=np.float32)[:4]
    alike = keras.ops.convert_to_numpy(scene_loss(None, np.concatenate([each, each])))
    strangers = keras.ops.convert_to_numpy(scene_loss(None, np.concatenate([each, each[::-1]])))
    assert alike < 0.1 < 4 < strangers


def test_what_a_step_minimises_is_the_same_compiled():
    random = np.random.default_rng(0)
    logits, targets = random.normal(0, 1, (8, 4)).astype(np.float32), np.eye(8, 4, dtype=np.float32)
    for loss in (defect_loss(4.0), scene_loss):
        compiled = tensorflow.function(loss, jit_compile=False)(targets, logits)
        np.testing.assert_allclose(compiled, loss(targets, logits), rtol=1e-5)


def test_the_learning_rate_rises_stays_whatever_the_length_and_falls_at_the_end():
    long, short = Recipe(steps=10_000), Recipe(steps=5_000)
    assert long.rate(0) < long.rate(100) < long.rate(299) == long.learning_rate
    assert [long.rate(step) for step in (0, 100, 3_000)] == [short.rate(step) for step in (0, 100, 3_000)]
    assert long.rate(7_000) == long.learning_rate > long.rate(8_500) > long.rate(9_999) > 0


def test_the_trained_trunk_has_every_task_on_top_of_it():
    model = build_model(RECIPE)
    shapes = {name: output.shape[1:] for name, output in model.output.items()}
    n_defects = len(DEFECT_NAMES) + 1
    assert shapes == {
        "cells": (4, 4, n_defects), "defects": (n_defects,), "background": (N_BACKGROUNDS,), "scene": (128,)
    }  # fmt: skip


def test_recolouring_keeps_shape_and_range(bank):
    recoloured = recolour(np.random.default_rng(1), bank.images[:8])
    assert recoloured.dtype == np.uint8
    assert recoloured.shape == (8, 40, 40, 3)


def small_trunk(name: str, weights: object, size: int, seed: int = 0) -> Trunk:
    """One layer for each stage of `compact`, with the resolution of its maps: to build all of `compact` takes longer than a step."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 3), name="image")
    x, levels = keras.layers.Rescaling(1 / 255)(image), {}
    for level, stride in (("level1", 4), ("level2", 2), ("level3", 2)):
        x = levels[level] = keras.layers.Conv2D(8, 3, stride, padding="same", activation="relu", name=level)(
            x
        )
    maps = [levels[level.split("_")[0]] for level in COMPACT_LEVELS]
    return Trunk(keras.Model([image], maps), COMPACT_LEVELS, name, None, "")


def test_pretraining_that_was_stopped_goes_on_where_it_was_and_ends_once(bank, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(pretraining, "build_trunk", small_trunk)
    recipe = replace(RECIPE, steps=4, steps_per_epoch=2)
    state, weights = tmp_path / "state", tmp_path / "weights.npz"
    steps: list[int] = []

    def stop(done: int, total: int) -> None:
        steps.append(done)
        if done == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError), step_by_step():
        pretrain(bank, recipe, state, weights, stop)
    assert steps == [1, 2, 3]
    assert not weights.exists()

    steps.clear()
    with step_by_step():
        figures = pretrain(bank, recipe, state, weights, lambda done, total: steps.append(done))
    assert steps == [3, 4], "from the last whole epoch on"
    model = small_trunk("compact", None, 32, recipe.seed).model
    before = model.get_weights()
    load_npz(model, weights)
    assert all(np.abs(now - then).max() > 3e-4 for now, then in zip(model.get_weights(), before, strict=True))
    assert np.isfinite(list(figures.values())).all()

    steps.clear()
    with step_by_step():
        pretrain(bank, recipe, state, weights, lambda done, total: steps.append(done))
    assert steps == [], "a finished training isn't repeated"


def test_the_first_step_finds_the_variables_of_the_optimizer(bank):
    """Where the step makes them, TensorFlow traces it twice."""
    model = build_model(RECIPE)
    compile_model(model, RECIPE)
    assert len(model.optimizer.variables) > 2 * len(model.trainable_variables)


def test_what_is_gone_on_with_depends_on_the_recipe_but_not_on_its_length():
    assert Recipe(steps=10).digest == Recipe(steps=20).digest
    assert len({Recipe().digest, Recipe(seed=1).digest, Recipe(learning_rate=1e-3).digest}) == 3


def test_nothing_is_gone_on_with_that_has_another_width(monkeypatch):
    before = Recipe().digest
    monkeypatch.setitem(COMPACT_CHANNELS, "level1", 32)
    assert Recipe().digest != before


def test_the_command_makes_what_is_shipped():
    defaults = inspect.signature(pretrain_command).parameters
    assert [defaults[name].default for name in ("steps", "start", "teacher")] == [None] * 3, (
        "those of the recipe"
    )
    assert defaults["precision"].default == Recipe().precision
