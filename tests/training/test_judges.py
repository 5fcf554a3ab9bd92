"""A fine-tuned trunk is validated on other images than those it was trained on, if there are enough."""

from pathlib import Path

import numpy as np
import pytest
from tuned import Tuning

from defect_detection.data.cross_validation import assign_folds
from defect_detection.data.samples import Sample
from defect_detection.data.split import load_splits
from defect_detection.evaluation.claims import RateClaim
from defect_detection.model.bundle import (
    TRUNK_TRAINED_ON_FILE,
    read_trunk_trained_on,
    seen_in_training,
    short_hashes,
)
from defect_detection.model.graph import read_trunk
from defect_detection.training import trial as trials
from defect_detection.training.bundling import save_trial
from defect_detection.training.folds import Folds
from defect_detection.training.judges import choose_judges
from defect_detection.training.trial import run_trial


def samples(count: int, first: int = 0, group: str = "") -> list[Sample]:
    return [
        Sample(Path(f"{i}.png"), i % 2, "", group.format(i // 2), f"{i:016x}" + "0" * 48)
        for i in range(first, first + count)
    ]


def hashes(some: list[Sample]) -> np.ndarray:
    return short_hashes(one.sha256 for one in some)


def folds_of(some: list[Sample]) -> Folds:
    return Folds(np.array(assign_folds(some, 1)), refit=True)


def test_a_trunk_as_shipped_is_judged_by_all():
    some = samples(80)
    judges = choose_judges(folds_of(some), some, np.empty(0, np.uint64), one_trunk=False)
    assert (judges.folds.scored.tolist(), judges.left_out, judges.learned) == (list(range(80)), 0, False)


def test_after_fifty_new_images_none_that_the_trunk_has_learned_judges():
    old, added = samples(80), samples(50, 80)
    first = choose_judges(folds_of(old), old, np.empty(0, np.uint64), one_trunk=True)
    learned = [old[i] for i in np.flatnonzero(first.folds.fold < 0)]
    everything = [*old, *added]
    for one_trunk in (False, True):
        judges = choose_judges(folds_of(everything), everything, hashes(learned), one_trunk)
        scored = [everything[i] for i in judges.folds.scored]
        assert not {one.sha256 for one in scored} & {one.sha256 for one in learned}
        assert min(sum(one.label == label for one in scored) for label in (0, 1)) >= 5
        assert not judges.learned
        assert judges.left_out == len(learned)
    again = {everything[i].sha256 for i in judges.folds.scored}
    assert {old[i].sha256 for i in first.folds.scored} & again, (
        "folds are stable: the first fold still judges"
    )


def test_what_the_trunk_has_learned_is_learned_from_by_every_fit():
    some = samples(60)
    judges = choose_judges(folds_of(some), some, hashes(some[:20]), one_trunk=False)
    assert judges.folds.learns[:20].all()
    assert (judges.folds.fold[:20] == -1).all()
    assert judges.folds.kept.tolist() == list(range(60))


def test_a_part_is_learned_as_a_whole():
    some = samples(60, group="part {}")
    judges = choose_judges(folds_of(some), some, hashes([some[0]]), one_trunk=False)
    assert {0, 1} & set(judges.folds.scored.tolist()) == set()
    assert 2 in judges.folds.scored


@pytest.mark.parametrize("one_trunk", [False, True])
def test_without_enough_unseen_images_the_learned_ones_judge_and_it_is_said(one_trunk):
    some = samples(60)
    judges = choose_judges(folds_of(some), some, hashes(some[:58]), one_trunk)
    assert judges.learned
    assert len(judges.folds.scored)


def test_the_new_images_alone_judge_where_they_are_enough():
    some = samples(60)
    judges = choose_judges(folds_of(some), some, hashes(some[:40]), one_trunk=True)
    assert set(judges.folds.scored.tolist()) <= set(range(40, 60))
    assert not judges.learned


def test_images_that_the_model_has_learned_show_no_claim():
    claim = RateClaim(
        kind="escape", limit=0.05, confidence=0.95, count=0, total=100, unit="part", bound=0.03, needed=59, met=True
    )  # fmt: skip
    assert "NOT shown" in claim.unsound.text
    assert claim.unsound.text.endswith("but the model was trained on these images")


def test_what_a_trunk_has_learned_survives_several_retrainings(plant, tmp_path, monkeypatch):
    """Fine-tuned, then a head on it alone, then fine-tuned again: all that any of them has learned is known."""
    monkeypatch.setattr(trials, "fine_tune", Tuning())
    config = plant.config("training.cv_below=1000")
    splits = load_splits(config)
    quick = {"turns": 1, "pooled_regularization": 0.1, "levels": ("stem_relu",)}
    base = config.training.resolved(config.training.hyperparameter_sets[1]).model_copy(update=quick)
    tuned = base.model_copy(update={"trainable_from": "stem_conv", "fine_tune_epochs": 1})
    trunk, known, folder = None, np.empty(0, np.uint64), tmp_path / "bundle"
    for generation, settings in enumerate((tuned, base, tuned)):
        trial = run_trial(settings, splits, config, lambda *_: None, trunk)
        judged = [one.sha256 for one in trial.validation]
        assert not np.isin(short_hashes(judged), known).any()
        trunk, known = trial.trunk, trial.trunk.learned
        assert len(known) >= 40
        if generation == 1:  # what it knows is from the first, through a file
            save_trial(trial, splits, config, folder)
            assert np.array_equal(read_trunk_trained_on(folder), known)
            trunk = read_trunk(folder, "second")
            assert np.array_equal(trunk.learned, known)
            hashes_of_train = {one.sha256 for one in splits.train}
            assert set(seen_in_training(folder, hashes_of_train)) == hashes_of_train
    (folder / TRUNK_TRAINED_ON_FILE).unlink()
    assert len(read_trunk(folder, "old").learned) == 60, (
        "a bundle that does not say has learned all of its images"
    )


def test_a_trunk_as_shipped_has_learned_nothing_even_in_a_bundle_that_does_not_say(trained_once, tmp_path):
    import shutil

    folder = shutil.copytree(trained_once.config().bundle_dir, tmp_path / "bundle")
    assert not len(read_trunk(folder, "new").learned)
    (folder / TRUNK_TRAINED_ON_FILE).unlink()
    assert not len(read_trunk(folder, "old").learned)
