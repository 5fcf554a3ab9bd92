import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from forked import python
from matplotlib.figure import Figure

from defect_detection.errors import BundleError, TrackingError
from defect_detection.tracking.runs import ExperimentRecorder
from defect_detection.tracking.store import connect

# MLflow 3.17 on SQLAlchemy 2.1
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


def run_of(uri: str, run_id: str) -> Any:
    return connect(uri).client.get_run(run_id)


def test_a_trial_keeps_everything_it_is_given(uri: str, name: str, tmp_path: Path):
    image = tmp_path / "made elsewhere.png"
    Figure().savefig(image)
    figure, drawn = Figure(layout="constrained"), []
    figure.add_subplot()
    figure.canvas.mpl_connect("draw_event", drawn.append)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.html").write_text("<html>")
    with ExperimentRecorder(uri, name).trial(
        "compact", {"epochs": 3, "levels": None}, {"set": "a"}
    ) as record:
        for epoch in range(3):
            record.metrics({"loss": 1 / (epoch + 1), "accuracy": 0.5}, step=epoch)
        record.metrics({"validation_accuracy": 0.75})
        record.figure("curves", figure)
        record.figure("worst", image)
        record.text("config.yaml", "seed: 42\n")
        record.folder("report", tmp_path / "report")
        record.dataset("train", "ab" * 32, source="/data/train", images=10, defective=4)

    run = run_of(uri, record.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "compact")
    assert run.data.params == {"epochs": "3", "levels": "None"}
    assert run.data.metrics == {"loss": 1 / 3, "accuracy": 0.5, "validation_accuracy": 0.75}
    assert run.data.tags["set"] == "a"
    assert run.data.tags["data.train.fingerprint"] == "ab" * 32
    assert run.inputs.dataset_inputs[0].dataset.digest == "ab" * 16
    client = connect(uri).client
    losses = [point.value for point in client.get_metric_history(record.run_id, "loss")]
    assert losses == [1, 1 / 2, 1 / 3]
    files = {
        file.path for top in ("figures", "report", None) for file in client.list_artifacts(record.run_id, top)
    }
    assert {"figures/curves.png", "figures/worst.png", "report/report.html", "config.yaml"} <= files
    assert len(drawn) == 1  # layout and drawing take long


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), "KILLED"), (SystemExit(1), "KILLED"), (ValueError("too few images"), "FAILED")],
)
def test_a_trial_that_ends_early_says_how(uri: str, name: str, error: BaseException, status: str):
    with pytest.raises(type(error)), ExperimentRecorder(uri, name).trial("a", {}) as record:
        raise error
    run = run_of(uri, record.run_id)
    assert run.info.status == status
    assert run.data.tags.get("failure") == ("too few images" if status == "FAILED" else None)


def test_a_logged_model_belongs_to_its_run(uri: str, name: str, bundle: Path):
    with ExperimentRecorder(uri, name).trial("a", {"epochs": 3}) as record:
        record.metrics({"accuracy": 0.75})
        model_uri = record.model(bundle)

    model = connect(uri).client.get_logged_model(model_uri.removeprefix("models:/"))
    assert (model.status.name, model.source_run_id, model.params) == ("READY", record.run_id, {"epochs": "3"})
    assert [(metric.key, metric.value) for metric in model.metrics] == [("accuracy", 0.75)]
    assert run_of(uri, record.run_id).outputs.model_outputs[0].model_id == model.model_id


def test_a_folder_that_is_no_bundle_is_refused_before_anything_is_logged(uri: str, name: str, tmp_path: Path):
    with (
        pytest.raises(BundleError, match=r"inspector\.json"),
        ExperimentRecorder(uri, name).trial("a", {}) as record,
    ):
        record.model(tmp_path)
    assert run_of(uri, record.run_id).outputs is None or not run_of(uri, record.run_id).outputs.model_outputs


def test_without_a_server_no_trial_starts(closed_port: int):
    started = []
    with (
        pytest.raises(TrackingError),
        ExperimentRecorder(f"http://127.0.0.1:{closed_port}", "x").trial("a", {}),
    ):
        started.append("a")
    assert not started


def test_a_trial_stands_below_its_parent(uri: str, name: str):
    recorder = ExperimentRecorder(uri, name)
    with recorder.trial("all", {}) as parent, recorder.trial("one", {}, parent=parent.run_id) as record:
        pass
    assert run_of(uri, record.run_id).data.tags["mlflow.parentRunId"] == parent.run_id
    assert "mlflow.parentRunId" not in run_of(uri, parent.run_id).data.tags


def test_a_run_is_found_by_its_tag_and_goes_on(uri: str, name: str):
    recorder = ExperimentRecorder(uri, name)
    for number in (1, 2):
        with recorder.trial("a", {"n": number}, {"search": "x-1"}) as record:
            pass
    with recorder.trial("b", {}, {"search": "x-2"}):
        pass
    assert recorder.find("search", "x-1") == record.run_id, "the newest of the two"
    assert recorder.find("search", "x-3") is None
    with recorder.trial("a", {"n": 2}, resume=record.run_id) as again:
        assert run_of(uri, record.run_id).info.status == "RUNNING"
        again.metrics({"trials": 3})
    run = run_of(uri, record.run_id)
    assert (again.run_id, run.info.status, run.data.metrics) == (record.run_id, "FINISHED", {"trials": 3})


def test_runs_that_a_killed_process_left_are_ended(uri: str, name: str):
    recorder = ExperimentRecorder(uri, name)
    with recorder.trial("all", {}) as parent, recorder.trial("other", {}) as other:
        with recorder.trial("done", {}, parent=parent.run_id) as done:
            pass
        with recorder.trial("left", {}, parent=parent.run_id) as left:
            assert recorder.end_unfinished(parent.run_id) == 1
            status = {run.run_id: run_of(uri, run.run_id).info.status for run in (parent, other, done, left)}
    assert list(status.values()) == ["RUNNING", "RUNNING", "FINISHED", "KILLED"]


def test_the_runs_of_a_git_checkout_name_its_commit(uri: str, name: str, tmp_path: Path):
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def tags_of_a_run() -> dict[str, str]:
        with ExperimentRecorder(uri, name, tmp_path).trial("a", {}) as record:
            pass
        return run_of(uri, record.run_id).data.tags

    assert "mlflow.source.git.commit" not in tags_of_a_run()
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "HEAD")
    tags = tags_of_a_run()
    assert (tags["mlflow.source.git.commit"], tags["mlflow.source.git.dirty"]) == (commit, "false")
    (tmp_path / "config.yaml").write_text("seed: 2\n")
    assert tags_of_a_run()["mlflow.source.git.dirty"] == "true"


def test_a_run_links_the_models_that_it_judged_and_shows(uri: str, name: str, bundle: Path):
    recorder = ExperimentRecorder(uri, name)
    with recorder.trial("a", {}) as made:
        model = made.model(bundle)
    with recorder.trial("above", {}) as above, recorder.trial("decision", {}) as decision:
        above.shows(model)
        decision.uses(model.removeprefix("models:/"))
    outputs = run_of(uri, above.run_id).outputs.model_outputs
    inputs = run_of(uri, decision.run_id).inputs.model_inputs
    assert [f"models:/{one.model_id}" for one in (*outputs, *inputs)] == [model] * 2


KILLED = """
import os, signal, sys
from defect_detection.tracking.registry import local_path
from defect_detection.tracking.runs import ExperimentRecorder
recorder = ExperimentRecorder(*sys.argv[1:])
with recorder.trial("left", {}) as record:
    record.text("a.txt", "whole")
    folder = local_path(recorder._store.client.get_run(record.run_id).info.artifact_uri)
    if folder:
        (folder / ".artifact.uploading.x").write_text("half")
    print(folder, record.run_id, sep="\\n", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are told apart by their start on Linux only")
def test_only_runs_of_dead_processes_of_this_machine_are_ended(uri: str, name: str):
    done = subprocess.run([python(), "-c", KILLED, uri, name], capture_output=True, text=True, check=False)
    folder, left = done.stdout.splitlines()[-2:]
    recorder, client = ExperimentRecorder(uri, name), connect(uri).client
    with recorder.trial("mine", {}) as mine, recorder.trial("elsewhere", {}) as elsewhere:
        client.set_tag(elsewhere.run_id, "owner.place", "another machine")
        client.set_tag(elsewhere.run_id, "owner.started", "long ago")
        assert recorder.end_abandoned() == 1
        status = [run_of(uri, run_id).info.status for run_id in (left, mine.run_id, elsewhere.run_id)]
    assert status == ["KILLED", "RUNNING", "RUNNING"]
    assert list(Path(folder).glob(".artifact.uploading.*")) == []


def test_runs_of_several_threads_log_the_same_data_at_once(uri: str, name: str):
    recorder = ExperimentRecorder(uri, name)

    def record_one(number: int) -> str:
        with recorder.trial(f"set {number}", {}) as record:
            record.dataset("train", "cd" * 32, images=10, defective=4)
        return record.run_id

    with ThreadPoolExecutor(4) as pool:
        for run_id in pool.map(record_one, range(4)):
            assert run_of(uri, run_id).inputs.dataset_inputs[0].dataset.digest == "cd" * 16
