"""Sets of one experiment share what they have in common."""

from dataclasses import replace

import numpy as np
import pytest
from tuned import Tuning

from defect_detection.config.training import HyperparameterSet
from defect_detection.data.split import load_splits
from defect_detection.model.trunks import fingerprint
from defect_detection.training import trial
from defect_detection.training.local_branch import rotated_cells
from defect_detection.training.trial import LOCAL_SETTINGS, POOLED_SETTINGS, Fits

# These choose the trunk, whose fingerprint is part of the key, or name the set.
OF_THE_TRUNK = {
    "name",
    "trunk",
    "weights",
    "levels",
    "trainable_from",
    "fine_tune_epochs",
    "fine_tune_learning_rate",
    "branches",
}


def test_what_a_branch_is_shared_by_knows_every_hyperparameter():
    """A new one that is in none of these would make sets share a fit that should differ."""
    assert {*POOLED_SETTINGS, *LOCAL_SETTINGS} | OF_THE_TRUNK == set(HyperparameterSet.model_fields)


def test_a_branch_is_fitted_once():
    fits, calls = Fits(), []

    def fit():
        calls.append(1)
        return ("branch", "logits")

    assert fits.once(("local", 64), fit) is fits.once(("local", 64), fit)
    assert len(calls) == 1
    fits.once(("local", 32), fit)
    assert len(calls) == 2


@pytest.mark.parametrize("large", ["cells", "trunk"])
def test_of_what_is_large_only_the_last_one_is_kept(large):
    fits = Fits()
    for key in ((large, "a"), ("local", 1), (large, "b")):
        fits.once(key, lambda: ())
    assert set(fits) == {("local", 1), (large, "b")}


def test_sets_with_local_branches_of_their_own_share_the_trunk_and_the_cells(trained_once, monkeypatch):
    config, rotations, fits = trained_once.config(), [], Fits()
    splits = load_splits(config)
    monkeypatch.setattr(trial, "rotated_cells", lambda *args: rotations.append(1) or rotated_cells(*args))
    base = config.training.resolved(config.training.hyperparameter_sets[0])
    scores, trunks = [], []
    for units in (2, 3):
        settings = base.model_copy(update={"branches": ("local",), "hidden_units": units, "epochs": 1})
        made = trial.run_trial(settings, splits, config, lambda *_: None, fits=fits)
        assert made.head.local.hidden_bias.shape == (units,)
        scores.append(made.scores)
        trunks.append(made.trunk)
    assert trunks[0] is trunks[1]
    assert len(rotations) == 1
    assert not np.array_equal(*scores)


def test_a_set_that_tunes_its_trunk_leaves_the_shared_one_as_it_is(plant, monkeypatch):
    monkeypatch.setattr(trial, "fine_tune", Tuning())
    config, fits = plant.config(), Fits()
    base = config.training.resolved(config.training.hyperparameter_sets[0])
    quick = {"branches": ("pooled",), "levels": ("stem_relu",), "turns": 1, "pooled_regularization": 0.1}
    frozen = base.model_copy(update=quick)
    tuned = frozen.model_copy(update={"trainable_from": "stem_conv", "fine_tune_epochs": 1})
    shared, own = (
        trial.run_trial(one, load_splits(config), config, lambda *_: None, fits=fits).trunk
        for one in (frozen, tuned)
    )
    assert own.model is not shared.model
    assert fingerprint(shared.model) == shared.fingerprint


def test_each_defect_type_is_left_out_once_where_that_is_asked_for(trained_once):
    config, splits = trained_once.config(), load_splits(trained_once.config())
    base = config.training.resolved(config.training.hyperparameter_sets[0])
    settings = base.model_copy(update={"branches": ("pooled",), "pooled_regularization": 0.1})
    train, validation = (
        tuple(replace(one, defect_type=("dent", "hole")[i % 2] * one.label) for i, one in enumerate(samples))
        for samples in (splits.train, splits.validation)
    )
    typed, fits = replace(splits, train=train, validation=validation), trial.Fits()
    asked, not_asked = (
        trial.run_trial(settings, typed, config, lambda *_: None, fits=fits, leave_out=one)
        for one in (True, False)
    )
    assert not_asked.types_left_out == ()
    assert sorted(one.name for one in asked.types_left_out) == ["dent", "hole"]
    assert asked.scores.tolist() == not_asked.scores.tolist()
    assert all(
        one.with_novelty.count <= one.without_novelty.count < 4 for one in asked.types_left_out
    )  # both are holes


def test_a_branch_that_stops_early_is_told_of_as_done(trained_once):
    config, told = trained_once.config(), []
    base = config.training.resolved(config.training.hyperparameter_sets[0])
    changes = {"branches": ("local",), "epochs": 60, "patience": 1, "learning_rate": 0.3}
    settings = base.model_copy(update=changes)
    splits = load_splits(config)
    trial.run_trial(
        settings, splits, config, lambda phase, done, total, metrics=None: told.append((phase, done, total))
    )
    *epochs, end = [one for one in told if one[0] == "head"]
    assert epochs == [("head", number, 60) for number in range(1, len(epochs) + 1)]
    assert end == ("head", len(epochs), len(epochs))
    assert len(epochs) < 60
