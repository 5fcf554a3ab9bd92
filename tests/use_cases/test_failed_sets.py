"""A diverging hyperparameter set is a failed trial; the others continue."""

import json

import pytest
from plant import LEVELS
from typer.testing import CliRunner

from defect_detection.cli.training import app
from defect_detection.errors import DivergedError
from defect_detection.tracking.store import connect
from defect_detection.use_cases.train import train

DIVERGING = {
    "name": "wild",
    "levels": LEVELS,
    "branches": ["local"],
    "hidden_units": 4,
    "learning_rate": 1e30,
}
TUNED = {
    "name": "tuned",
    "branches": ["pooled"],
    "levels": LEVELS,
    "trainable_from": "level1",
    "fine_tune_epochs": 1,
    "fine_tune_learning_rate": 1e30,
}
CALM = {"name": "calm", "levels": LEVELS, "branches": ["pooled"], "turns": 1, "pooled_regularization": 0.1}


def sets(*some: dict[str, object]) -> str:
    return f"training.hyperparameter_sets={json.dumps(some)}"


def runs_by_name(plant) -> dict[str, object]:
    store = connect(plant.config().tracking_uri, "defect-detection")
    return {
        run.info.run_name.split()[0]: run for run in reversed(store.client.search_runs([store.experiment_id]))
    }


def test_a_set_that_diverges_is_a_failed_run_and_the_others_go_on(plant):
    config = plant.root / "config.yaml"
    done = CliRunner().invoke(app, ["train", "--config", str(config), "--set", sets(DIVERGING, TUNED, CALM)])
    assert done.exit_code == 0, done.output
    lines = [line for line in done.output.splitlines() if line.startswith("! set")]
    assert [line.split(":")[0] for line in lines] == ["! set wild diverged", "! set tuned diverged"]
    assert lines[0].endswith("is NaN; lower learning_rate")
    assert lines[1].endswith("is NaN; lower fine_tune_learning_rate")
    assert "Best: calm" in done.output
    runs = runs_by_name(plant)
    assert [runs[name].info.status for name in ("wild", "tuned", "calm", "training")] == [
        "FAILED",
        "FAILED",
        "FINISHED",
        "FINISHED",
    ]
    assert lines[0].endswith(runs["wild"].data.tags["failure"])
    assert runs["training"].data.tags["diverged"] == "wild, tuned"


def test_when_all_sets_diverge_one_error_names_them_and_nothing_is_kept(plant):
    info = plant.config().best_model_info.read_text()
    with pytest.raises(DivergedError, match=r"All hyperparameter sets diverged") as raised:
        train(plant.config(sets(DIVERGING, {**DIVERGING, "name": "other"})))
    assert [line.split(":")[0] for line in str(raised.value).splitlines()[1:]] == [
        "  set wild diverged",
        "  set other diverged",
    ]
    assert plant.config().best_model_info.read_text() == info
    assert runs_by_name(plant)["training"].info.status == "FAILED"
