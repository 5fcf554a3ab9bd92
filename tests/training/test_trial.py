"""Sets of one experiment share what they have in common."""

from defect_detection.config_sections import HyperparameterSet
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
