"""The type of a defect: learned from parts, calibrated on held-out images, and unknown where the model is unsure."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from defect_detection.config.evaluation import EvaluationConfig
from defect_detection.data.samples import Sample
from defect_detection.evaluation.rates import Rate
from defect_detection.model.heads import Types
from defect_detection.model.type_rule import TypeRule
from defect_detection.training.folds import Folds
from defect_detection.training.type_branch import _classify, fit_types, labelled_types, probabilities_of

FEATURES = 12


def defect(number: int, *types: str, group: str = "") -> Sample:
    return Sample(Path(f"{number}.png"), 1, types[0], group, f"{number:064x}", more_types=types[1:])


def drawn(samples: list[Sample], noise: float = 1.0) -> np.ndarray:
    """Return features in which each type shifts one of them."""
    names = sorted({name for one in samples for name in one.defect_types})
    rows = np.random.default_rng(0).normal(0, noise, (len(samples), FEATURES)).astype(np.float32)
    for row, sample in zip(rows, samples, strict=True):
        for name in sample.defect_types:
            row[names.index(name)] += 4
    return rows


def fitted(samples: list[Sample], noise: float = 1.0) -> tuple[Types, TypeRule, np.ndarray]:
    folds = Folds(np.arange(len(samples)) % 5, refit=True)
    rows, labelled = drawn(samples, noise), labelled_types(samples, folds.kept)
    head, rule, _ = fit_types([rows], labelled, samples, folds, np.zeros(len(samples)), EvaluationConfig())
    logits = head.standardise(rows) @ head.weights + head.bias
    return head, rule, probabilities_of(logits, head.several)


def some(counts: dict[str, int]) -> list[Sample]:
    names = [name for name, count in counts.items() for _ in range(count)]
    return [defect(number, name) for number, name in enumerate(names)]


def test_types_of_ten_parts_are_learned_and_smaller_ones_together():
    samples = some({"dent": 40, "scratch": 40, "burr": 4, "hole": 3, "defective": 20, "unknown": 15})
    _, rule, probabilities = fitted(samples)
    assert rule.names == ("dent", "scratch", "other")
    named = [rule.named(row, 0.0)[0].name for row in probabilities[:87]]
    expected = ["dent"] * 40 + ["scratch"] * 40 + ["other"] * 7
    assert np.mean([one == other for one, other in zip(named, expected, strict=True)]) > 0.9
    assert rule.right.value > 0.85
    assert rule.right.total + rule.unknown.count == rule.unknown.total == 87


@pytest.mark.parametrize(
    "counts", [{"dent": 60}, {"dent": 60, "scratch": 9}, {"dent": 60, "defective": 60}, {}]
)
def test_one_type_with_enough_parts_is_nothing_to_tell_apart(counts):
    samples = some(counts)
    assert labelled_types(samples, np.arange(len(samples))) is None


def test_images_of_one_part_count_as_one():
    samples = [defect(i, "dent", group=f"part {i % 5}") for i in range(40)] + some({"scratch": 40})
    assert labelled_types(samples, np.arange(80)) is None


def test_too_few_images_of_small_types_are_left_out():
    samples = some({"dent": 12, "scratch": 12, "burr": 1})
    labelled = labelled_types(samples, np.arange(25))
    assert (labelled.names, len(labelled.indices)) == (("dent", "scratch"), 24)


def test_probabilities_are_calibrated_on_what_each_fit_held_out():
    """With features that say nothing, a fit that saw an image would be sure; one that did not gives the shares."""
    samples = some({"dent": 60, "scratch": 30})
    for i, sample in enumerate(samples):
        samples[i] = replace(sample, defect_type="dent" if i % 3 else "scratch")
    rng = np.random.default_rng(1)
    rows = rng.normal(0, 1, (90, 60)).astype(np.float32)
    folds = Folds(np.arange(90) % 5, refit=True)
    labelled = labelled_types(samples, folds.kept)
    head, rule, _ = fit_types([rows], labelled, samples, folds, np.zeros(90), EvaluationConfig())
    fresh = head.standardise(rng.normal(0, 1, (200, 60))) @ head.weights + head.bias
    assert probabilities_of(fresh, several=False)[:, 0].mean() == pytest.approx(2 / 3, abs=0.1)
    assert rule.unknown.value > 0.8


def test_an_image_may_have_several_types():
    samples = some({"dent": 40, "scratch": 40}) + [defect(100 + i, "scratch", "dent") for i in range(30)]
    head, rule, probabilities = fitted(samples)
    assert (rule.several, head.several) == (True, True)
    both = [{one.name for one in rule.named(row, 0.0)} for row in probabilities[80:]]
    assert np.mean([names == {"dent", "scratch"} for names in both]) > 0.9
    answer = rule.named([0.99, 0.999], 0.0)
    assert [one.name for one in answer] == ["scratch", "dent"]


def test_a_model_that_is_unsure_or_sees_something_new_says_unknown():
    rate = Rate.of(9, 10)
    rule = TypeRule(
        names=("dent", "scratch"),
        several=False,
        least=(0.7, 0.7),
        novelty_limit=5.0,
        right=rate,
        unknown=rate,
    )
    assert rule.named([0.2, 0.8], 4.9) == (("scratch", 0.8),)
    assert rule.named([0.2, 0.8], None) == (("scratch", 0.8),)
    assert rule.named([0.4, 0.6], 0.0) == (("unknown", None),)
    assert rule.named([0.01, 0.99], 5.1) == (("unknown", None),)


@pytest.mark.parametrize("several", [False, True])
def test_a_fit_that_stops_at_its_number_of_iterations_says_nothing(several):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(1, 300, 30)) * np.logspace(-3, 3, 30)  # a warning fails a test
    weights, _ = _classify(rows, np.eye(3, dtype=bool)[rng.integers(0, 3, 300)], 1.0, several)
    assert np.isfinite(weights).all()
