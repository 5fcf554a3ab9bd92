"""Production is changed over HTTP by real child processes on a real store, and read without mlflow."""

import json
import os
import subprocess
import sys
from functools import partial

import pytest
from test_champion import Plant
from waiting import wait_until

from defect_detection.files.trail import FILE
from defect_detection.records.jobs import create_job
from defect_detection.records.keys import create_key
from defect_detection.serving.app import create_app
from defect_detection.serving.changes import ProductionChanges
from defect_detection.serving.local_key import make_local_key, read_local_key
from defect_detection.serving.services import services_of
from defect_detection.tracking.ledger import Ledger
from defect_detection.tracking.ledger_entry import DecisionKind, Plan
from defect_detection.tracking.ledger_listing import list_entries
from defect_detection.tracking.store import connect

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

REMOTE = {"REMOTE_ADDR": "192.0.2.7"}


@pytest.fixture(scope="module")
def plant(tmp_path_factory) -> Plant:
    """Versions 1 and 2 can be served, 3 gives other verdicts than when it was trained. Version 1 was evaluated and promoted."""
    plant = Plant(tmp_path_factory.mktemp("plant"))
    for how in ({"threshold": 0.25}, {"threshold": 0.75}, {"golden_scores": (0, 1)}):
        plant.version(**how)
    folder = plant.root / "report"
    folder.mkdir()
    (folder / "report.html").write_text("<h1>Of version 1</h1>")
    plan = Plan(
        0, DecisionKind.EVALUATION, "promote", None, 1, "Defect_CNN version 1", "better", "198/200 (99.0 %)"
    )
    with Ledger(plant.uri).entry(plan, {"candidate_run_id": "trained"}) as entry:
        entry.folder("report", folder)
        plant.promote(1)
    return plant


@pytest.fixture
def app(project, plant, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", plant.uri)
    app = create_app(project.config("serving.refresh_s=600"))
    yield app
    services_of(app).served.stop()
    services_of(app).records.close()


@pytest.fixture
def client(app):
    return app.test_client()


def version_served(app) -> int:
    return services_of(app).served.current().reference.version


@pytest.mark.usefixtures("forked_children")
def test_a_version_is_promoted_over_http_and_served_at_once(app, client, plant, project):
    """One story: each step costs a process. The refresh of the served model is far longer than the test."""
    assert version_served(app) == 1
    key = create_key(services_of(app).records.database, "anna", "admin")
    make_local_key(project.root)
    mine = {"X-API-Key": read_local_key(project.root)}
    promoted = client.post(
        "/models/2/promote",
        json={"reason": "--to see; $(it) 'work'"},
        headers={"X-API-Key": key},
        environ_base=REMOTE,
    )
    assert (promoted.status_code, promoted.json["in_production"]) == (200, 2), promoted.json
    assert "Production_Reg version 2 is in production, instead of version 1" in promoted.json["message"]
    wait_until(lambda: version_served(app) == 2)

    refused = client.post("/models/3/promote", json={"reason": "why not"}, headers=mine)
    assert (refused.status_code, refused.content_type) == (409, "application/problem+json")
    assert "golden" in refused.json["detail"]
    assert "Traceback" not in refused.text

    shown = client.get("/history", headers=mine).json
    assert (shown["in_production"], shown["rollback_to"], shown["notes"]) == (2, 1, [])
    assert (shown["entries"][0]["who"], shown["entries"][0]["kind"]) == ("anna (API key)", "manual promotion")
    assert shown["entries"][0]["why"].startswith("--to see; $(it) 'work' (promoted without the gate")

    promotion, evaluation = shown["entries"]
    assert (promotion["report"], promotion["candidate_run_id"]) == (None, "")
    assert (evaluation["candidate_run_id"], evaluation["accuracy"]) == ("trained", "198/200 (99.0 %)")
    assert client.get("/history?limit=1", headers=mine).json["total"] == 2

    told = [json.loads(line) for line in (project.root / FILE).read_text().splitlines()]
    assert [(one["who"] == "anna (API key)", one["what"], one["outcome"][:20]) for one in told] == [
        (True, "production moved", "instead of version 1"),
        (False, "promotion", "refused: Production_"),
    ]

    report = client.get(evaluation["report"], headers=mine)
    assert report.text == "<h1>Of version 1</h1>"
    assert "script" not in report.headers["Content-Security-Policy"]
    assert "default-src 'none'" in report.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/models/2/promote", {}),
        ("/models/2/promote", {"reason": "why", "name": ""}),
        ("/models/2/promote", {"reason": "  "}),
        ("/models/2/promote", {"reason": "a\0b"}),
        ("/models/0/promote", {"reason": "why"}),
        ("/models/rollback", {"to": 0}),
        ("/models/rollback", {"to": "2; rm"}),
    ],
)
def test_wrong_values_are_refused_before_any_process_starts(client, app, path, body):
    services_of(app).changes = None
    answer = client.post(path, json=body)
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")


def test_only_an_admin_changes_production_and_only_who_may_look_sees_the_ledger(client, app):
    services_of(app).changes = None
    operator = {"X-API-Key": create_key(services_of(app).records.database, "line 3", "operator")}
    ask = partial(client.post, "/models/2/promote", json={"reason": "why"}, environ_base=REMOTE)
    assert ask().status_code == 401
    assert (ask(headers=operator).status_code, ask(headers=operator).json["title"]) == (403, "Forbidden")
    assert client.post("/models/rollback", json={}, environ_base=REMOTE).status_code == 401
    for path in ("/history", f"/reports/{'0' * 32}"):
        assert client.get(path, environ_base=REMOTE).status_code == 401
    assert client.get("/history", headers=operator, environ_base=REMOTE).status_code == 200
    who = client.get("/access", headers=operator, environ_base=REMOTE).json
    assert who == {"name": "line 3", "role": "operator"}
    assert client.get("/access").status_code == 401  # from this machine, which is not enough any more


def test_a_report_is_only_ever_a_file_of_the_ledger(client, plant):
    store = connect(plant.uri, "another experiment")
    run = store.client.create_run(store.experiment_id)
    store.client.log_text(run.info.run_id, "not a decision's", "report/report.html")
    assert client.get(f"/reports/{run.info.run_id}").status_code == 404
    assert client.get("/reports/..%2f..%2fetc").status_code in (404, 422)
    missing = client.get(f"/reports/{'0' * 32}")
    assert (missing.status_code, "experiment 'promotions'" in missing.json["detail"]) == (404, True)


def test_without_a_store_the_history_is_empty(project, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client = create_app(project.config()).test_client()
    shown = client.get("/history").json
    assert (shown["in_production"], shown["rollback_to"], shown["entries"]) == (None, None, [])


def test_a_change_ends_in_time_and_two_at_once_are_refused(project, monkeypatch):
    changes = ProductionChanges(project.config(), timeout_s=0.05)
    with pytest.raises(Exception, match=r"took longer than 0\.05 s and was stopped"):
        changes.run(["version"], "this machine")
    with (
        changes._one_at_a_time,
        pytest.raises(Exception, match="another change of production is in progress"),
    ):
        changes.run(["version"], "this machine")


def test_the_ledger_reads_the_same_with_and_without_mlflow(plant):
    listed = tuple(one.entry for one in list_entries(plant.uri))
    assert listed == Ledger(plant.uri).entries_by_mlflow()
    assert len(listed) >= 1


def test_serving_and_reading_what_is_registered_loads_neither_mlflow_nor_tensorflow(project, plant):
    code = """
import sys
from pathlib import Path
from defect_detection.config import load_config
from defect_detection.serving.app import create_app
from defect_detection.use_cases.history import history
client = create_app(load_config(Path("config.yaml"))).test_client()
print(len(history(load_config(Path("config.yaml"))).entries))
print(*(client.get(path).status_code for path in ("/health/ready", "/models", "/history")))
print({"mlflow", "tensorflow", "keras", "matplotlib"} & sys.modules.keys())
"""
    environment = {"MLFLOW_TRACKING_URI": plant.uri}
    done = subprocess.check_output(
        [sys.executable, "-c", code], cwd=project.root, text=True, env=os.environ | environment
    )
    assert done.splitlines()[-3:] == [str(len(list_entries(plant.uri))), "200 200 200", "set()"]


def test_metrics_count_jobs_by_state_and_answer_without_the_database(project, client, app, monkeypatch):
    create_job(services_of(app).records.database, "anna")
    text = client.get("/metrics").text
    assert 'defect_jobs{state="queued"} 1.0' in text
    assert 'defect_jobs{state="failed"} 0.0' in text
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{project.root}/config.yaml/lost.db")
    lost = create_app(project.config("serving.api_key=a key of sixteen characters")).test_client()
    without = lost.get("/metrics", headers={"X-API-Key": "a key of sixteen characters"})
    assert without.status_code == 200
    assert "defect_jobs{" not in without.text


def test_models_say_what_the_gate_decided_about_a_version(client, plant):
    listed = {one["version"]: one for one in client.get("/models").json["versions"]}
    decision = listed[1]["decision"]
    known = (decision["outcome"], decision["kind"], decision["why"], decision["gated"])
    assert known == ("promote", "evaluation", "better", False)
    assert client.get(decision["report"]).text == "<h1>Of version 1</h1>"
    assert listed[3]["decision"] is None
    assert listed[3].keys() >= {"accuracy", "escapes", "overkill"}
