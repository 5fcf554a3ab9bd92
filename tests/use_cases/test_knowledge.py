"""Training says in one line which state of knowledge a model is in, and what would change it."""

from dataclasses import replace
from pathlib import Path

import pytest

from defect_detection.data.samples import Sample
from defect_detection.data.split import load_splits
from defect_detection.evaluation.novelty_share import novelty_share
from defect_detection.model.bundle import read_card
from defect_detection.use_cases.candidates import Candidate
from defect_detection.use_cases.knowledge import after_training, state_in_words


@pytest.fixture
def state(trained_once):
    """A function that gives the line for a kind of model, a number of defective images and a weight of novelty."""
    card, splits = read_card(trained_once.config().bundle_dir), load_splits(trained_once.config())

    def say(n_defective, share=0.0, kind="classifier", parts=None):
        samples = tuple(
            Sample(
                Path(f"{i}"), int(i < n_defective), "", f"{i % (parts or 999)}" if parts else "", f"{i:064x}"
            )
            for i in range(100)
        )
        known = replace(splits, train=samples, validation=())
        calibration = card.calibration | {"novelty_share": share}
        return state_in_words(card.model_copy(update={"kind": kind, "calibration": calibration}), known)

    return say


def test_with_a_few_defects_it_names_both_weights_and_the_number_that_would_end_it(state):
    assert state(12, share=novelty_share(0.9, 0.9, 12)) == (
        "State: 12 defective images: novelty has a weight of 45 %, the classifier of 55 % "
        "(with about 190 defective parts instead of 12, the classifier decides alone)"
    )
    assert "instead of 4, the" in state(12, share=0.8, parts=4), "images of one part are one"


def test_with_many_the_classifier_decides_and_with_none_novelty(state):
    assert state(90).startswith("State: 90 defective images: the classifier decides; novelty marks")
    assert state(1, 1.0, "one_class").endswith("(from 2 defective parts on, a classifier decides too)")
    assert state(5, 1.0, "one_class").endswith("(training.mode: one_class)")


@pytest.mark.parametrize(("caught", "warns"), [(0, True), (71, True), (72, False), (356, False)])
def test_a_model_that_catches_fewer_than_a_fifth_of_the_drawn_defects_is_doubted(trained_once, caught, warns):
    card = read_card(trained_once.config().bundle_dir)
    figures = {**card.validation, "drawn": 356.0, "drawn_caught": float(caught)}
    of_ok = card.model_copy(update={"kind": "one_class", "validation": figures})
    lines = after_training(Candidate(of_ok, Path(), "", "", {}), load_splits(trained_once.config()))
    assert any(f"! Only {caught} of 356 drawn defects are caught" in line for line in lines) == warns


def test_a_trained_model_carries_the_weight_and_one_of_an_earlier_version_has_none(trained_once):
    card = read_card(trained_once.config().bundle_dir)
    assert 0.05 < card.novelty_share < 1, "30 defective parts are few"
    assert card.calibration["novelty"] > 0
    earlier = {name: value for name, value in card.calibration.items() if not name.startswith("novelty")}
    assert card.model_copy(update={"calibration": earlier}).novelty_share == 0
    assert card.model_copy(update={"calibration": earlier, "kind": "one_class"}).novelty_share == 1
