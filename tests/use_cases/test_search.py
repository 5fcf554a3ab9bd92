"""Search on drawn parts with a real database: trials, pruning, and continuation after a kill."""

import json
import shutil
import sqlite3
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
from forked import Child, fork
from once import once
from plant import LEVELS, Plant
from waiting import LIMIT_S

from defect_detection.cli import main
from defect_detection.config import Config
from defect_detection.data.split import load_splits
from defect_detection.errors import BusyError, ConfigError
from defect_detection.model.bundle import read_card
from defect_detection.model.named_weights import COMPACT_WEIGHTS
from defect_detection.model.trunks import build_trunk, save_npz
from defect_detection.processes.watch import unwatched
from defect_detection.tracking.best_model import BestModelInfo
from defect_detection.tracking.runs import ExperimentRecorder
from defect_detection.tracking.store import connect
from defect_detection.training.trial import Fits
from defect_detection.use_cases.search import _trunk_of, search, search_name, storage_url
from defect_detection.use_cases.train import train
from defect_detection.use_cases.trial_runs import Bench

ONE_SET = f"training.hyperparameter_sets=[{{name: both, levels: {list(LEVELS)}, hidden_units: 16, pooled_regularization: 0.1}}]"
PARENT = "mlflow.parentRunId"
SPACE = {
    "pooled_regularization": {"low": 0.001, "high": 1.0},
    "hidden_units": {"low": 4, "high": 32},
    "branches": [["pooled"], ["pooled", "local"]],
}


def searching(trials: int, space: dict[str, Any] | None = None, base: str = "both") -> str:
    return f"training.search={json.dumps({'base': base, 'trials': trials, 'space': space or SPACE})}"


def bench_of(plant: Plant, *overrides: str) -> Bench:
    config = plant.config(*overrides)
    recorder = ExperimentRecorder(config.tracking_uri, config.mlflow.experiment_name)
    return Bench(load_splits(config), config, recorder, unwatched, fits=Fits())


def search_of(plant: Plant, *overrides: str) -> Any:
    """Search, without training the sets; return the best set."""
    return search(bench_of(plant, *overrides))


def study_of(config: Config) -> optuna.Study:
    storage = optuna.storages.RDBStorage(storage_url(config.root))
    (summary,) = optuna.get_all_study_summaries(storage)
    return optuna.load_study(study_name=summary.study_name, storage=storage)


def states_of(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def runs_of_search(plant: Plant) -> tuple[Any, list[Any]]:
    """Return the one run of the search, and those of its trials, the oldest first."""
    store = connect(plant.config().tracking_uri, "defect-detection")
    (parent,) = store.client.search_runs([store.experiment_id], "tags.search LIKE '%'")
    below = f"tags.`{PARENT}` = '{parent.info.run_id}'"
    return parent, store.client.search_runs([store.experiment_id], below, order_by=["start_time ASC"])


def figures_of(plant: Plant, run: Any) -> set[str]:
    client = connect(plant.config().tracking_uri).client
    return {Path(file.path).stem for file in client.list_artifacts(run.info.run_id, "figures")}


@pytest.fixture(scope="session")
def searched_once(trained_once: Plant, tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """The plant after a training that searched with two trials; what it came to is in `trained.json`."""

    def make(root: Path) -> None:
        with pytest.MonkeyPatch.context() as environment:
            environment.delenv("MLFLOW_TRACKING_URI", raising=False)
            trained = train(trained_once.copy(root).config(searching(2), ONE_SET))
        came_to = {"validation": trained.validation, "best": trained.best, "value": trained.value}
        (root / "trained.json").write_text(json.dumps(came_to))

    return Plant(once(tmp_path_factory, "searched", make))


@pytest.fixture
def searched(searched_once: Plant, tmp_path: Path) -> Plant:
    """The plant after that training, as a copy of the test's own."""
    return searched_once.copy(tmp_path)


def came_to(plant: Plant) -> tuple[dict[str, Any], str]:
    """Return what the training came to, and the name of the set that the search has added."""
    trained = json.loads((plant.root / "trained.json").read_text())
    (added,) = trained["validation"].keys() - {"both"}
    return trained, added


def test_each_trial_is_a_run_below_the_run_of_the_search(searched_once):
    parent, trials = runs_of_search(searched_once)
    study = study_of(searched_once.config())
    assert (parent.info.run_name, parent.info.status) == ("search both", "FINISHED")
    assert [run.info.run_name for run in trials] == ["both-trial-0", "both-trial-1"]
    assert {run.info.status for run in trials} == {"FINISHED"}
    assert states_of(study) == ["COMPLETE"] * 2
    for run, trial in zip(trials, study.trials, strict=True):
        assert trial.user_attrs["run_id"] == run.info.run_id
        assert float(run.data.params["pooled_regularization"]) == trial.params["pooled_regularization"]
        assert {"val_auroc", "val_log_loss", "val_escape_rate", "seconds"} <= run.data.metrics.keys()
        with_curves = "local" in run.data.params["branches"]
        assert ("training_curves" in figures_of(searched_once, run)) == with_curves
        assert run.outputs is None or not run.outputs.model_outputs, "only what is kept is saved"
    assert figures_of(searched_once, parent) == {"search_auroc", "search_log_loss"}
    _, added = came_to(searched_once)
    assert parent.data.tags["best"] == added
    (run,) = [run for run in trials if run.info.run_name == added]
    ranks = [(run.data.metrics["val_auroc"], -run.data.metrics["val_log_loss"]) for run in trials]
    assert (run.data.metrics["val_auroc"], -run.data.metrics["val_log_loss"]) == max(ranks)


def test_the_first_trial_is_the_set_as_it_is(searched_once):
    _, (run, _) = runs_of_search(searched_once)
    (base,) = [one for one in searched_once.config().training.hyperparameter_sets if one.name == "both"]
    tried = {name: run.data.params[name] for name in SPACE}
    assert tried == {
        name: str(value) for name, value in base.model_dump(mode="json").items() if name in SPACE
    }


def test_training_compares_the_best_of_the_search_with_the_sets(searched_once):
    trained, added = came_to(searched_once)
    assert added.startswith("both-trial-")
    _, trials = runs_of_search(searched_once)
    (run,) = [run for run in trials if run.info.run_name == added]
    found = trained["validation"][added]
    assert found["auroc"] == run.data.metrics["val_auroc"], "trained again, it is the same"
    assert found["log_loss"] == pytest.approx(run.data.metrics["val_log_loss"], abs=1e-6)
    config = searched_once.config()
    assert trained["best"] == read_card(config.bundle_dir).name
    assert BestModelInfo.read(config.best_model_info).value == trained["value"]


def test_a_trial_that_falls_behind_is_pruned_and_says_so(plant):
    """A rate of learning that makes the loss grow without bound, against five trials that were done before.

    The first levels of the trunk would tell the parts apart at any rate.
    """
    space = {"learning_rate": [0.01, 50.0], "branches": [["local"], ["pooled"]]}
    one_set = "training.hyperparameter_sets=[{name: both, levels: [level2], hidden_units: 16, pooled_regularization: 0.1}]"
    overrides = searching(6, space), "training.epochs=8", one_set
    config = plant.config(*overrides)
    splits = load_splits(config)
    (base,) = config.training.hyperparameter_sets
    base = config.training.resolved(base)
    name = search_name(base, space, _trunk_of(bench_of(plant, *overrides), base), splits, config)
    storage = optuna.storages.RDBStorage(storage_url(config.root))
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
    for _ in range(5):
        study.add_trial(done_before(space))
    study.enqueue_trial({"learning_rate": "50.0", "branches": '["local"]'})
    best = search_of(plant, *overrides)
    parent, (run,) = runs_of_search(plant)
    assert states_of(study_of(config)) == [*["COMPLETE"] * 5, "PRUNED"]
    assert (run.data.tags["pruned"], run.info.status) == ("true", "FINISHED")
    assert "failure" not in run.data.tags
    assert parent.data.metrics == {"trials": 6, "pruned_trials": 1}
    assert best.learning_rate < 1


def done_before(space: dict[str, Any]) -> optuna.trial.FrozenTrial:
    """Return a trial as a search keeps it, whose loss stayed at 0.5."""
    choices = {name: [json.dumps(value) for value in values] for name, values in space.items()}
    return optuna.trial.create_trial(
        params={name: some[0] for name, some in choices.items()},
        distributions={
            name: optuna.distributions.CategoricalDistribution(some) for name, some in choices.items()
        },
        value=0.9,
        intermediate_values=dict.fromkeys(range(1, 9), -0.5),
        user_attrs={"run_id": "earlier", "auroc": 0.9, "log_loss": 0.5},
    )


def test_a_finished_search_goes_on_and_does_not_try_a_third_time_what_was_killed_twice(searched):
    search_of(searched, searching(2))
    study = study_of(searched.config())
    assert len(study.trials) == 2
    killed = {"pooled_regularization": 0.5, "hidden_units": 8, "branches": '["pooled"]'}
    study.enqueue_trial(killed, user_attrs={"again": True})
    proposal = study.ask()
    assert proposal.suggest_float("pooled_regularization", 0.001, 1.0, log=True) == 0.5
    search_of(searched, searching(3))
    parent, trials = runs_of_search(searched)
    study = study_of(searched.config())
    values = [trial.params["pooled_regularization"] for trial in study.trials]
    assert states_of(study) == [*["COMPLETE"] * 2, "FAIL", "COMPLETE"]
    assert len(set(values)) == 4, "no draw is repeated, and what was killed is tried once"
    assert len(trials) == parent.data.metrics["trials"] == 3


def test_other_weights_under_the_same_name_are_another_trunk(plant):
    weights = plant.root / "weights.npz"
    shutil.copyfile(COMPACT_WEIGHTS["procedural"], weights)
    config = plant.config()
    bench = Bench(load_splits(config), config, None, unwatched)
    base = config.training.hyperparameter_sets[0].model_copy(update={"weights": str(weights)})
    before = _trunk_of(bench, base)
    save_npz(build_trunk("compact", None, 32).model, weights)
    assert before != _trunk_of(bench, base)


def test_another_set_space_trunk_or_seed_is_another_search(plant):
    config = plant.config()
    splits = load_splits(config)
    both, pooled = map(config.training.resolved, config.training.hyperparameter_sets)
    names = [
        search_name(both, SPACE, "a trunk", splits, config),
        search_name(pooled, SPACE, "a trunk", splits, config),
        search_name(both, {"dropout": [0.1, 0.2]}, "a trunk", splits, config),
        search_name(both, SPACE, "another", splits, config),
        search_name(both, SPACE, "a trunk", splits, plant.config("seed=7")),
        search_name(both, SPACE, "a trunk", load_splits(plant.config("seed=7")), config),
    ]
    assert len(set(names)) == 6
    assert search_name(both, SPACE, "a trunk", splits, plant.config("training.epochs=3")) == names[0]


def test_a_search_that_is_killed_goes_on_where_it_was(plant):
    """Kill -9 in the middle of a trial, in a process of its own."""
    space = {name: SPACE[name] for name in ("pooled_regularization", "hidden_units")}  # all have epochs
    overrides = [searching(2, space), "training.epochs=30"]
    child = fork(plant.root, main, ["train", *[part for one in overrides for part in ("--set", one)]])
    try:
        wait_for_second_running(plant.root, child)
    finally:
        child.kill()
        child.ended()
    killed, (first, *later) = runs_of_search(plant)
    assert (killed.info.status, first.info.status, later[-1].info.status) == (
        "RUNNING",
        "FINISHED",
        "RUNNING",
    )
    before = states_of(study_of(plant.config()))

    search_of(plant, *overrides)
    parent, trials = runs_of_search(plant)
    states = states_of(study_of(plant.config()))
    assert parent.info.run_id == killed.info.run_id
    assert parent.info.status == "FINISHED"
    assert sorted(run.info.status for run in trials) == [*["FINISHED"] * 2, "KILLED"]
    assert states[: len(before)] == [*before[:-1], "FAIL"]
    assert sum(state in ("COMPLETE", "PRUNED") for state in states) == 2
    assert len(states) == 3
    failed, again = study_of(plant.config()).trials[len(before) - 1 : len(before) + 1]
    assert failed.params == again.params, "what was killed is tried once more"


def wait_for_second_running(root: Path, child: Child, limit_s: float = LIMIT_S) -> None:
    """Wait until a trial is done and the next one has logged the loss of an epoch."""
    end = time.monotonic() + limit_s
    queries = {
        "search.db": "SELECT count(*) FROM trials WHERE state = 'COMPLETE'",
        "mlflow.db": "SELECT count(*) FROM metrics JOIN runs USING (run_uuid) WHERE status = 'RUNNING' AND key = 'loss'",
    }
    while time.monotonic() < end and child.is_alive():
        with suppress(sqlite3.OperationalError):  # no file or table yet
            if all(count_in(root / name, query) for name, query in queries.items()):
                return
        time.sleep(0.05)
    pytest.fail(f"no second trial was under way: {child.said()}")


def count_in(database: Path, query: str) -> int:
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=20)) as connection:
        return connection.execute(query).fetchone()[0]


def test_a_trial_that_diverges_is_a_failed_run_and_the_search_goes_on(plant):
    space = {"learning_rate": [1e30, 1e29], "branches": [["local"], ["pooled", "local"]]}
    bench = bench_of(plant, searching(2, space))
    assert search(bench) is None, "it has found none"
    assert [name for name in bench.diverged if name.startswith("both-trial-")], (
        "a training names them at its end"
    )
    parent, trials = runs_of_search(plant)
    assert [run.info.status for run in trials] == ["FAILED"] * 2
    assert all("lower learning_rate" in run.data.tags["failure"] for run in trials)
    assert parent.info.status == "FINISHED"
    assert (parent.data.metrics["diverged_trials"], parent.data.metrics["pruned_trials"]) == (2, 0)


def test_two_searches_at_the_same_time_are_refused(plant):
    from filelock import FileLock

    with FileLock(plant.root / ".search.lock"), pytest.raises(BusyError):
        search_of(plant, searching(1))


def test_the_search_has_a_file_of_its_own_beside_the_settings(searched_once):
    assert count_in(searched_once.root / "search.db", "SELECT count(*) FROM trials") == 2
    query = "SELECT count(*) FROM sqlite_master WHERE name IN ('trials', 'studies')"
    assert count_in(searched_once.root / "mlflow.db", query) == 0


def test_without_optuna_the_error_says_what_to_install(plant, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'defect-detection\[search\]'"):
        train(plant.config(searching(1)))

    def stop(task: str, *_: object) -> None:
        if task == "training both":
            raise InterruptedError

    pooled = ONE_SET.replace("hidden_units: 16", "branches: [pooled], turns: 1")
    with pytest.raises(InterruptedError):  # without a search, training is beyond it without Optuna
        train(plant.config(pooled), stop)
