"""Ctrl-C during ``src/train.py`` keeps the earlier results and ends the MLflow runs."""

import runpy
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from forked import Child, fork
from plant import Plant
from waiting import LIMIT_S

from defect_detection.model.bundle import read_card
from defect_detection.tracking.store import connect

SCRIPT = Path(__file__).parents[1] / "src" / "train.py"


def kept(plant: Plant) -> tuple[object, ...]:
    """Return everything that an interrupted training leaves as it was."""
    config = plant.config()
    versions = connect(config.tracking_uri).client.search_model_versions()
    registered = sorted((version.name, version.version) for version in versions)
    return config.best_model_info.read_text(), read_card(config.bundle_dir), registered


def states_of_runs(plant: Plant) -> list[str]:
    store = connect(plant.config().tracking_uri, "defect-detection")
    return [run.info.status for run in store.client.search_runs([store.experiment_id])]


def test_ctrl_c_leaves_the_last_model_and_a_killed_run(plant):
    """In a process of its own, between two epochs of many."""
    before = kept(plant)
    many = "--set", "training.epochs=100000", "--set", "training.patience=null"
    child = fork(plant.root, run_script, *many)
    try:
        wait_for_epochs(plant.root / "mlflow.db", child)
        child.interrupt()
        assert child.ended() == 130, child.said()
    finally:
        child.kill()
    assert sorted(states_of_runs(plant)) == [*["FINISHED"] * 3, *["KILLED"] * 2], "each with the run above"
    assert kept(plant) == before
    assert [path.name for path in plant.root.iterdir() if path.name.startswith(".temp")] == []


def run_script(*arguments: str) -> None:
    sys.argv = [str(SCRIPT), *arguments]
    runpy.run_path(str(SCRIPT), run_name="__main__")


def wait_for_epochs(database: Path, child: Child, limit_s: float = LIMIT_S) -> None:
    """Wait until the run that is under way has logged an epoch's loss."""
    end = time.monotonic() + limit_s
    query = (
        "SELECT count(*) FROM metrics JOIN runs USING (run_uuid) WHERE status = 'RUNNING' AND key = 'loss'"
    )
    while time.monotonic() < end and child.is_alive():
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=20)) as connection:
            if connection.execute(query).fetchone()[0]:
                return
        time.sleep(0.1)
    pytest.fail(f"no epoch was logged: {child.said()}")
