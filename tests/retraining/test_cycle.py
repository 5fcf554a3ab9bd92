"""Retraining from the registry and from scratch, to each of its ends."""

import json
import re

import pytest
from filelock import FileLock
from in_production import put_in_production
from plant import LEVELS, Plant
from tuned import Tuning

from defect_detection.config import load_retrain_config
from defect_detection.data.split import load_splits
from defect_detection.errors import BusyError
from defect_detection.evaluation.gate import Outcome
from defect_detection.model.bundle import read_card
from defect_detection.processes.messages import keep_silent
from defect_detection.records.database import Database
from defect_detection.retraining import cycle
from defect_detection.retraining.advice import Advice, advise
from defect_detection.retraining.cycle import Retrained, compare_on_validation, retrain
from defect_detection.retraining.start import find_start
from defect_detection.tracking.store import connect
from defect_detection.training import trial
from defect_detection.use_cases.by_hand import promote
from defect_detection.use_cases.history import history

QUICK = {"branches": ["pooled"], "turns": 1, "pooled_regularization": 0.1}
POOLED_ONLY = [{"name": "again", **QUICK}]


class Retraining:
    """Retrain a plant, and keep what is said."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.lines: list[str] = []

    def __call__(self, *overrides: str, **settings: object) -> Retrained:
        folder = self.plant.root / "re_train"
        folder.mkdir(exist_ok=True)
        (folder / "re_train.yaml").write_text(json.dumps({"hyperparameter_sets": POOLED_ONLY, **settings}))
        return retrain(
            folder / "re_train.yaml",
            overrides,
            say=lambda message: self.lines.append(message.text),
        )

    def said(self, *words: str) -> str:
        """Return the one line with these words."""
        (line,) = [line for line in self.lines if all(word in line for word in words)]
        return line


@pytest.fixture
def retraining(plant: Plant) -> Retraining:
    return Retraining(plant)


def advised(plant: Plant) -> Advice:
    database = Database(plant.config().database_url)
    try:
        return advise(plant.config(), database)
    finally:
        database.close()


def kept(plant: Plant) -> tuple[object, ...]:
    """Return everything that a retraining without success leaves as it was."""
    config = plant.config()
    client = connect(config.tracking_uri).client
    registered = sorted((version.name, version.version) for version in client.search_model_versions())
    return config.best_model_info.read_text(), read_card(config.bundle_dir), registered, plant.in_production()


def activation_rows(plant: Plant) -> dict[str, int]:
    """Return how much is in the cache of frozen work."""
    return {str(path): path.stat().st_size for path in (plant.root / "cache/activations").rglob("*.rows")}


def runs_of_retrainings(plant: Plant) -> list:
    store = connect(plant.config().tracking_uri, "defect-detection")
    return store.client.search_runs([store.experiment_id], "tags.retraining = 'true'")


@pytest.fixture
def trained_before(monkeypatch):
    """Let a retraining take the plant's own model for what it trained, where only what it decides is looked at."""

    def of(plant: Plant, threshold: float | None = None) -> None:
        monkeypatch.setattr(cycle, "_train", lambda *_: plant.candidate(threshold))

    return of


def test_a_model_that_is_significantly_worse_on_validation_leaves_everything(promoted, trained_before):
    """At a threshold of 0.99999 every defect passes."""
    plant, retraining = promoted, Retraining(promoted)
    before = kept(plant)
    trained_before(plant, threshold=0.99999)
    retrained = retraining()
    assert (retrained.outcome, retrained.candidate, retrained.promoted) == (Outcome.HOLD, None, None)
    assert kept(plant) == before
    assert ": significantly worse (McNemar, p = 0.016)" in retraining.said("On validation: Wrong on 6")
    assert retraining.lines[-1].startswith("Outcome: HOLD. Production_Reg version 1 stays in production")


def test_a_model_that_is_better_on_validation_only_is_not_promoted(plant, retraining, trained_before):
    """The champion misses weak defects, and the test images have none."""
    threshold = plant.threshold_missing(1, "validation")
    for sample, score in zip(plant.samples(), plant.scores(), strict=True):
        if sample.label and score < threshold:
            sample.path.unlink()
    put_in_production(plant, plant.make(threshold))
    trained_before(plant)
    retrained = retraining()
    assert (retrained.outcome, retrained.promoted) == (Outcome.HOLD, None)
    assert "the test decides" in retraining.said("On validation: the test")
    assert "equals" in retraining.said("On test: Accuracy", "champion")
    assert str(retrained.candidate) == "Defect_CNN version 3"
    assert (plant.in_production().version, plant.in_testing()) == (1, None)


def test_a_test_that_shows_too_little_ends_without_promotion(beatable, trained_before):
    """Ten defective test images rule nothing out at the usual margin, and validation leaves it to them."""
    plant, retraining = beatable, Retraining(beatable)
    trained_before(plant)
    retrained = retraining("evaluation.gate.margin=0.02")
    assert (retrained.outcome, retrained.promoted) == (Outcome.INSUFFICIENT, None)
    assert "not enough evidence" in retraining.said("On validation", "defective")
    assert "not enough evidence" in retraining.said("On test", "defective images it misses")
    assert retraining.lines[-1].startswith("Outcome: INSUFFICIENT EVIDENCE. Production_Reg version 1 stays")
    assert plant.in_production().version == 1
    assert re.fullmatch(
        r"What would help: add about \d+ defective parts to the test images",
        retraining.said("What would help"),
    )


def test_without_a_base_model_it_starts_from_scratch_names_a_set_that_diverges_and_makes_the_first(
    plant, retraining
):
    wild = {"name": "wild", "levels": LEVELS, "branches": ["local"], "learning_rate": 1e30}
    calm = {"name": "again", "levels": LEVELS, **QUICK}
    waits = "evaluation.gate.promote_at_once=false"
    retrained = retraining("evaluation_threshold=0.5", waits, hyperparameter_sets=[wild, calm])
    assert (retrained.outcome, retrained.base, retrained.promoted) == (Outcome.PASSED, None, None)
    assert "none of Testing_Reg@re-train, Production_Reg@prod exists" in retraining.said("Start")
    assert "no model in production" in retraining.said("On validation")
    assert "escapes 0/10 (0 %, 95 % CI 0 to 30.8 %)" in retraining.said("On test: The new model")
    assert retraining.lines[-1] == (
        "Outcome: PASSED. Production_Reg version 1 waits until a person promotes it. No model is in production"
    )
    assert plant.in_production() is None
    advice = advised(plant)
    assert advice.command == "defect promote 1 --gated --reason TEXT"
    assert (
        advice.why
        == "The gate passed Production_Reg version 1. This version waits until a person promotes it."
    )
    promote(plant.config(), 1, "the first", gated=True)
    assert plant.in_production().version == 1
    assert advised(plant).command == "defect serve"
    assert "the first (the gate passed it: entry 1)" in history(plant.config()).entries[0].why
    assert "lower learning_rate" in retraining.said("Failed: set wild diverged")
    assert {run.info.run_name: run.info.status for run in runs_of_retrainings(plant)} == {
        "wild": "FAILED",
        "again": "FINISHED",
    }


def test_each_fine_tuned_set_starts_from_the_base_model_itself(promoted, monkeypatch, tmp_path):
    """Fine-tuning changes the trunk that it is given, so sets must not share one."""
    sets = [{"name": name, "trainable_from": "level1", "fine_tune_epochs": 1, **QUICK} for name in "ab"]
    tuning = Tuning()
    monkeypatch.setattr(trial, "fine_tune", tuning)

    config, file = promoted.config(), promoted.root / "re_train.yaml"
    file.write_text(json.dumps({"hyperparameter_sets": sets}))
    start = find_start(load_retrain_config(file), config, promoted.registry, (), keep_silent)

    def stop(task: str, phase: str, *_: object) -> None:
        if (task, phase) == ("training b", "fine-tuning"):
            raise InterruptedError

    with pytest.raises(InterruptedError):  # the second set has begun; nothing more is looked at
        cycle._train(start, load_splits(config), tmp_path / "bundles", stop, keep_silent)
    base = read_card(promoted.registry.bundle_of(promoted.in_production(), config.cache_dir))
    assert tuning.started_from == [base.trunk_fingerprint] * 2


def test_what_the_champion_was_trained_on_counts_for_neither(plant):
    splits = load_splits(plant.config())
    seen = [sample for sample in splits.validation if sample.label][:3]
    put_in_production(plant, plant.make(1.0, trained_on=seen))
    goes_on, (reason, *_) = compare_on_validation(plant.candidate(), splits, plant.registry, plant.config())
    assert goes_on
    assert reason.startswith("accuracy 9/9 (100 %")
    assert "Production_Reg version 1 was trained on 3 of 12 validation images, which were left out" in reason


def test_without_unseen_validation_images_the_test_decides(plant):
    splits = load_splits(plant.config())
    put_in_production(plant, plant.make(trained_on=splits.validation))
    goes_on, (reason,) = compare_on_validation(plant.candidate(), splits, plant.registry, plant.config())
    assert goes_on
    assert "0 OK and 0 defective images remain, too few to compare; the test decides" in reason


def test_a_second_retraining_at_the_same_time_is_refused(plant, retraining):
    with FileLock(plant.root / ".retrain.lock"), pytest.raises(BusyError, match="already running"):
        retraining()
