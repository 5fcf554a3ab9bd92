"""Train and evaluate on drawn parts with a real registry: the saved, registered and promoted models of each sequence."""

import io
import json
import re
import shutil
from pathlib import Path

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
from in_production import put_in_production
from PIL import Image
from plant import LEVELS, Plant
from tuned import Tuning

from benchmarks.ports import free_port
from defect_detection.data.reference import camera_of, look_of
from defect_detection.data.samples import fingerprint
from defect_detection.data.split import load_splits
from defect_detection.errors import BusyError, LeakageError, NoModelError, TrackingError
from defect_detection.evaluation.gate import Outcome
from defect_detection.inference.inspect import Inspector
from defect_detection.model.bundle import (
    KERAS_FILE,
    read_card,
    read_golden,
    seen_in_training,
    short_hashes,
    verify,
)
from defect_detection.model.forms import outputs_of
from defect_detection.tracking.best_model import BestModelInfo
from defect_detection.tracking.store import connect
from defect_detection.training import trial
from defect_detection.training.bundling import describe, held_out
from defect_detection.use_cases.evaluate import evaluate
from defect_detection.use_cases.inspection import load_inspector
from defect_detection.use_cases.train import keep, train

SETS = {"both", "pooled_only"}
PARENT = "mlflow.parentRunId"
QUICK = "branches: [pooled], turns: 1, pooled_regularization: 0.1"


def runs_of(plant: Plant, experiment: str = "defect-detection") -> list:
    store = connect(plant.config().tracking_uri, experiment)
    return store.client.search_runs([store.experiment_id])


def runs_of_sets(plant: Plant) -> list:
    return [run for run in runs_of(plant) if PARENT in run.data.tags]


def artifacts_of(plant: Plant, run, folder: str | None = None) -> set[str]:
    return {
        found.path
        for found in connect(plant.config().tracking_uri).client.list_artifacts(run.info.run_id, folder)
    }


def versions(plant: Plant) -> dict[str, list[int]]:
    """Return the versions of every registered model."""
    client = connect(plant.config().tracking_uri).client
    found = [(version.name, int(version.version)) for version in client.search_model_versions()]
    return {name: sorted(number for other, number in found if other == name) for name, _ in found}


# -- train ------------------------------------------------------------------------------------------------------------


def test_each_hyperparameter_set_is_a_finished_run(trained_once):
    runs = runs_of_sets(trained_once)
    assert {run.info.run_name for run in runs} == SETS
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        assert run.data.params["image_size"] == "64"
        assert {"val_auroc", "val_accuracy", "val_escape_rate", "seconds"} <= run.data.metrics.keys()
        assert {"config.json", "figures"} <= artifacts_of(trained_once, run)
        figures = artifacts_of(trained_once, run, "figures")
        assert {"figures/confusion_matrix.png", "figures/worst_images.png"} <= figures


def test_the_run_above_the_sets_compares_them(trained_once):
    (parent,) = [run for run in runs_of(trained_once) if PARENT not in run.data.tags]
    assert re.fullmatch(r"training \d{4}-\d\d-\d\d \d\d:\d\d", parent.info.run_name)
    assert parent.info.status == "FINISHED"
    assert {run.data.tags[PARENT] for run in runs_of_sets(trained_once)} == {parent.info.run_id}
    assert artifacts_of(trained_once, parent, "figures") == {"figures/comparison.png"}
    info = BestModelInfo.read(trained_once.config().best_model_info)
    assert parent.data.tags["best_run"] == info.run_id
    card = read_card(trained_once.config().bundle_dir)
    assert parent.data.tags["best"] == card.name
    assert f"{card.name}, validation AUROC {info.value:.4f}" in parent.data.tags["mlflow.note.content"]
    assert parent.data.metrics["val_auroc"] == pytest.approx(info.value)
    assert {one.dataset.name for one in parent.inputs.dataset_inputs} == {"train", "validation", "test"}
    assert [f"models:/{one.model_id}" for one in parent.outputs.model_outputs] == [info.model_uri]


def test_experiments_models_and_versions_say_what_they_are(missing_two_once):
    client = connect(missing_two_once.config().tracking_uri).client
    ours = [one for one in client.search_experiments() if one.name != "Default"]
    assert {one.name for one in ours} == {"defect-detection", "promotions"}
    assert all(one.tags["mlflow.note.content"] for one in ours)
    models = {one.name: one for one in client.search_registered_models()}
    assert models.keys() == {"Defect_CNN", "Production_Reg"}
    assert all(one.description for one in models.values())
    versions = client.search_model_versions()
    assert all(one.description for one in versions)
    assert (
        "accuracy 18/20 (90.0 %, 95 % CI 68.3 to 98.8 %), escapes 2/10 (20.0 %, 95 % CI 2.5 to 55.6 %)"
        in client.get_model_version("Production_Reg", "1").description
    )


def test_the_run_of_a_decision_links_its_model_and_its_data(missing_two_once):
    plant = missing_two_once
    candidate = plant.registry.version("Defect_CNN", 2)
    (found,) = runs_of(plant, "promotions")
    run = connect(plant.config().tracking_uri).client.get_run(
        found.info.run_id
    )  # a search leaves the models out
    assert [one.model_id for one in run.inputs.model_inputs] == [candidate.tags["model_id"]]
    assert [one.dataset.name for one in run.inputs.dataset_inputs] == ["test"]
    assert run.data.tags["data.test.fingerprint"] == fingerprint(plant.samples())


def test_a_run_has_metrics_of_each_epoch_and_their_curves(trained_once):
    client = connect(trained_once.config().tracking_uri).client
    (run,) = [run for run in runs_of_sets(trained_once) if run.info.run_name == "both"]
    for name in ("loss", "val_loss"):
        assert [metric.step for metric in client.get_metric_history(run.info.run_id, name)] == [1, 2, 3]
    assert "figures/training_curves.png" in artifacts_of(trained_once, run, "figures")


def test_the_auroc_of_a_run_is_that_of_the_whole_model_and_not_of_an_epoch(trained_once):
    client = connect(trained_once.config().tracking_uri).client
    for run in runs_of_sets(trained_once):
        assert {metric.step for metric in client.get_metric_history(run.info.run_id, "val_auroc")} == {0}
    (run,) = [run for run in runs_of_sets(trained_once) if run.info.run_name == "both"]
    assert "local_val_auroc" in run.data.metrics


def test_a_run_names_its_data(trained_once):
    splits = load_splits(trained_once.config())
    for run in runs_of_sets(trained_once):
        tags = run.data.tags
        assert tags["data.train.fingerprint"] == splits.train_fingerprint
        assert tags["data.validation.fingerprint"] == splits.validation_fingerprint
        assert tags["data.test.fingerprint"] == fingerprint(trained_once.samples())
        assert (tags["data.train.images"], tags["data.train.defective"]) == ("48", "24")


def test_the_best_by_validation_is_kept(trained_once):
    config = trained_once.config()
    info = BestModelInfo.read(config.best_model_info)
    runs = {run.info.run_id: run for run in runs_of_sets(trained_once)}
    assert info.value == max(run.data.metrics["val_auroc"] for run in runs.values())
    assert runs[info.run_id].info.run_name == read_card(config.bundle_dir).name
    assert info.model_path == config.bundle_dir / KERAS_FILE
    assert trained_once.registry.version_of_run("Defect_CNN", info.run_id).version == 1


def test_the_bundle_is_whole_and_knows_its_training_images(trained_once):
    config = trained_once.config()
    verify(config.bundle_dir, read_card(config.bundle_dir))
    splits = load_splits(config)
    both = [sample.sha256 for sample in (*splits.train, *splits.validation)]
    assert sorted(seen_in_training(config.bundle_dir, both)) == sorted(
        sample.sha256 for sample in splits.train
    )
    assert [path.name for path in config.root.iterdir() if path.name.startswith(".temp")] == []


@pytest.mark.filterwarnings(
    "ignore:.*Any type hint is inferred as AnyType:UserWarning"
)  # importing mlflow.pyfunc
def test_keras_openvino_and_mlflow_agree_on_golden_images(trained_once, monkeypatch):
    folder = trained_once.config().bundle_dir
    images, trained = read_golden(folder)
    card = read_card(folder)
    model = keras.models.load_model(folder / KERAS_FILE, safe_mode=True)
    uri = BestModelInfo.read(trained_once.config().best_model_info).model_uri
    monkeypatch.setenv("MLFLOW_TRACKING_URI", trained_once.config().tracking_uri)
    answers = mlflow.pyfunc.load_model(uri).predict(pd.DataFrame({"image": [png(image) for image in images]}))
    scores = {
        "keras": outputs_of(model, images)["score"],
        "openvino": Inspector.load(folder).score(images)["score"],
        "pyfunc": answers["score"].to_numpy(np.float32),
    }
    for name, values in scores.items():
        assert np.abs(values - trained).max() < 1e-3, name
        assert [card.verdict(v) for v in values] == [card.verdict(v) for v in trained], name


def png(image: np.ndarray) -> bytes:
    Image.fromarray(image).save(buffer := io.BytesIO(), "png")
    return buffer.getvalue()


def test_nothing_is_kept_when_the_registry_is_lost_at_the_end(plant, closed_port):
    candidate, before = plant.candidate(0.1), plant.config()
    kept = (before.best_model_info.read_text(), read_card(before.bundle_dir))
    with pytest.MonkeyPatch.context() as environment, pytest.raises(TrackingError):
        environment.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port}")
        keep(candidate, plant.config())
    assert kept == (before.best_model_info.read_text(), read_card(before.bundle_dir))


def test_an_unreachable_server_is_an_error_that_changes_nothing(promoted, closed_port, monkeypatch):
    plant = promoted
    before = versions(plant), plant.config().best_model_info.read_text()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port}")
    for work in (train, evaluate):
        with pytest.raises(TrackingError, match="no MLflow server responded"):
            work(plant.config())
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert before == (versions(plant), plant.config().best_model_info.read_text())


@pytest.fixture
def closed_port() -> int:
    return free_port()


# -- evaluate ---------------------------------------------------------------------------------------------------------


def test_the_first_good_model_goes_to_production(promoted):
    plant = promoted
    report = json.loads((plant.config().report_dir / "report.json").read_text())
    assert report["decision"]["outcome"] == "promote"
    assert report["metrics"]["accuracy"]["count"] == 20
    assert versions(plant) == {"Defect_CNN": [1], "Production_Reg": [1]}
    assert str(plant.in_production()) == "Production_Reg version 1"
    inspector = load_inspector(plant.config())
    assert inspector.name == "Production_Reg v1 @prod"
    verdicts = [found.verdict for found in inspector.inspect([sample.path for sample in plant.samples()])]
    assert verdicts == ["defective"] * 10 + ["ok"] * 10
    for name in ("report.html", "summary.md"):
        assert (plant.config().report_dir / name).stat().st_size > 0
    (decision,) = runs_of(plant, "promotions")
    assert decision.data.tags["outcome"] == "promote"
    assert decision.data.metrics["test_accuracy"] == 1.0


@pytest.mark.parametrize(("n_escapes", "word"), [(2, "lower"), (0, "equals")])
def test_a_model_that_is_not_better_leaves_the_champion(promoted, n_escapes, word):
    plant = promoted
    plant.make(plant.threshold_missing(n_escapes) if n_escapes else None)
    evaluated = evaluate(plant.config())
    assert evaluated.decision.outcome is Outcome.HOLD
    assert word in evaluated.decision.reasons[1]
    assert versions(plant)["Production_Reg"] == [1, 2]
    assert plant.in_production().version == 1


def test_a_better_model_replaces_the_champion(missing_two):
    plant = missing_two
    plant.make()
    evaluated = evaluate(plant.config())
    assert "20/20 (100 %) against 18/20 (90.0 %)" in evaluated.decision.reasons[1]
    assert plant.in_production().version == evaluated.registered.version == 2


def test_a_model_below_the_threshold_goes_to_testing(promoted):
    plant = promoted
    for version in (1, 2):
        plant.make(plant.threshold_missing(8))
        evaluated = evaluate(plant.config())
        assert str(evaluated.registered) == f"Testing_Reg version {version}"
        assert plant.in_testing().version == version
    assert versions(plant)["Production_Reg"] == [1]
    assert plant.in_production().version == 1


def test_a_model_that_is_not_promoted_is_not_registered_where_only_promoted_ones_are_wanted(plant):
    plant.make(plant.threshold_missing(8))
    evaluated = evaluate(plant.config(), register="promoted")
    assert evaluated.registered is None
    assert versions(plant) == {"Defect_CNN": [1, 2]}


def test_both_are_scored_again_when_the_test_images_have_changed(plant):
    """The champion misses weak defects. As long as the test has none, it equals the candidate."""
    threshold = plant.threshold_missing(5)
    weak = [
        s.path
        for s, score in zip(plant.samples(), plant.scores(), strict=True)
        if s.label and score < threshold
    ]
    aside = plant.root / "aside"
    aside.mkdir()
    moved = {path: Path(shutil.move(path, aside)) for path in weak}
    put_in_production(plant, plant.make(threshold))
    plant.make()
    assert evaluate(plant.config()).decision.outcome is Outcome.HOLD

    for path, place in moved.items():
        shutil.move(place, path)
    evaluated = evaluate(plant.config())
    assert evaluated.report.champion.metrics.accuracy.count == 15
    assert evaluated.report.metrics.fingerprint == fingerprint(plant.samples())
    assert evaluated.report.champion.metrics.fingerprint == fingerprint(plant.samples())
    assert evaluated.decision.outcome is Outcome.PROMOTE
    assert plant.in_production().version == 2


def test_a_model_that_was_trained_on_a_test_image_is_not_evaluated(plant):
    known = load_splits(plant.config()).train[0].path
    shutil.copy(known, plant.root / "data/test/ok/known.png")
    with pytest.raises(LeakageError, match=r"known\.png"):
        evaluate(plant.config())
    assert versions(plant) == {"Defect_CNN": [1]}


def test_without_a_trained_model_evaluation_says_what_to_run(plant):
    plant.config().best_model_info.unlink()
    with pytest.raises(NoModelError, match="run `defect train`"):
        evaluate(plant.config())


def test_a_model_of_another_store_is_an_error(plant, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{plant.root}/other.db")
    with pytest.raises(NoModelError, match="MLFLOW_TRACKING_URI"):
        evaluate(plant.config())


def test_a_second_evaluation_at_the_same_time_is_refused(plant):
    from filelock import FileLock

    with FileLock(plant.root / ".promotion.lock"), pytest.raises(BusyError):
        evaluate(plant.config())


def test_few_images_are_cross_validated_and_the_kept_model_learns_from_all(plant):
    config = plant.config(
        "training.cv_below=1000",
        "evaluation.operating_point.max_escape_rate=0.01",
        "evaluation.confidence=0.9",
        f"training.hyperparameter_sets=[{{name: pooled, levels: {list(LEVELS)}, {QUICK}}}]",
    )
    trained = train(config)
    card = read_card(config.bundle_dir)
    check_claim_not_shown(plant, trained, card)
    assert (
        card.data["cross_validation_folds"],
        card.data["train_images"],
        card.data["validation_images"],
    ) == (
        5,
        60,
        60,
    )
    assert card.validation["images"] == 60
    assert 0 <= card.validation["auroc_std"] < card.validation["auroc_mean"] <= 1
    assert trained.value > 0.9
    samples = load_splits(config).samples
    assert len(seen_in_training(config.bundle_dir, (one.sha256 for one in samples))) == 60


def check_claim_not_shown(plant, trained, card):
    """30 defective images can't show 1 %: training, card, run and report say so and how many could."""
    (claim,) = card.operating_point.claims
    assert (card.claims_met, claim.met, claim.total, claim.needed) == (False, False, 30, 230)
    assert trained.claims == (claim.text,)
    assert "Of 30 defective images on validation (out-of-fold scores), none passed" in claim.text
    best = connect(plant.config().tracking_uri).client.get_run(trained.reference.run_id)
    assert best.data.tags["claims_met"] == "false"
    assert "claims.txt" in artifacts_of(plant, best)
    evaluated = evaluate(plant.config())
    assert evaluated.report.operating_point == card.operating_point
    assert "the claim needs about 230 defective images with no escape" in evaluated.files["html"].read_text()


def test_a_fine_tuned_trunk_is_judged_by_the_fold_that_it_did_not_learn_from(plant, monkeypatch):
    monkeypatch.setattr(trial, "fine_tune", Tuning())
    sets = f"[{{name: tuned, levels: {list(LEVELS)}, trainable_from: level1, fine_tune_epochs: 1, {QUICK}}}]"
    config = plant.config("training.cv_below=1000", f"training.hyperparameter_sets={sets}")
    (settings,) = map(config.training.resolved, config.training.hyperparameter_sets)
    splits = load_splits(config)
    tuned = trial.run_trial(settings, splits, config, lambda *_: None)
    card = describe(tuned, splits, config)
    assert (card.data["train_images"], card.validation["images"], card.validation["defective"]) == (60, 12, 6)
    judged = held_out(tuned).keys()
    assert (len(judged), len(tuned.trunk.learned)) == (12, 48)
    assert not np.isin(short_hashes(judged), tuned.trunk.learned).any()


def test_the_model_brings_the_figures_of_its_held_out_ok_images(trained_once):
    card = read_card(trained_once.config().bundle_dir)
    ok = [sample for sample in trained_once.samples("train") if sample.label == 0]
    assert card.baseline.parts == len(ok) == 30
    looks = [
        camera_of(look_of(np.asarray(Image.open(sample.path).convert("RGB")))).brightness for sample in ok
    ]
    assert card.baseline.quantiles["brightness"] == pytest.approx(sorted(looks), rel=1e-5)
    assert "score" not in card.baseline.quantiles, "6 validation images are too few"
    assert len(card.baseline.quantiles["novelty"]) == 30
