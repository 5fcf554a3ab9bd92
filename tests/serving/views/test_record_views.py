"""Inspections, feedback and keys by HTTP."""

import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from flask.testing import FlaskClient
from forked import python
from recorded import image_of, inspected, is_waiting, paused_at
from waiting import LIMIT_S, wait_until

from benchmarks.ports import free_port
from defect_detection.errors import UnknownRecordError
from defect_detection.records import writer
from defect_detection.records.database import Database
from defect_detection.records.inspections import find_inspection
from defect_detection.records.keys import create_key, revoke_key
from defect_detection.records.record_store import Records
from defect_detection.records.retention import prune
from defect_detection.records.writer import RecordWriter
from defect_detection.serving.app import create_app
from defect_detection.serving.services import services_of
from defect_detection.serving.views import records as record_views

REMOTE = {"REMOTE_ADDR": "192.0.2.7"}


@pytest.fixture
def app(project):
    app = create_app(project.config())
    yield app
    services_of(app).records.close()


@pytest.fixture
def client(app) -> FlaskClient:
    for number in range(3):
        services_of(app).records.recorder.record(inspected(number, score=0.1 * number), image_of(number))
    assert services_of(app).records.recorder.flush(LIMIT_S)
    return app.test_client()


def key(app, name: str, role: str = "operator") -> dict[str, str]:
    return {"X-API-Key": create_key(services_of(app).records.database, name, role)}


def test_inspections_are_listed_page_by_page(client):
    first = client.get("/inspections?limit=2").json
    assert [one["id"] for one in first["inspections"]] == [f"{2:08}", f"{1:08}"]
    second = client.get("/inspections", query_string={"limit": 2, "cursor": first["next"]}).json
    assert [one["id"] for one in second["inspections"]] == [f"{0:08}"]
    assert second["next"] is None


def test_an_inspection_says_all_that_was_recorded(client):
    shown = client.get(f"/inspections/{1:08}").json
    one = inspected(1, score=0.1)
    assert datetime.fromisoformat(shown["at"]) == one.at
    assert shown == {
        "id": f"{1:08}",
        "at": shown["at"],
        "verdict": "ok",
        "score": 0.1,
        "threshold": 0.5,
        "reason": None,
        "model_name": "Production_Reg",
        "model_version": 3,
        "latency_ms": 4.5,
        "name": "1.png",
        "group": "",
        "line": "",
        "station": "",
        "part": "",
        "product": "default",
        "sent_by": "",
        **dict.fromkeys(("novelty", "brightness", "contrast", "sharpness", "colour_balance", "defect_type")),
        "defect_types": [],
        "boxes": [],
        "sha256": one.sha256,
        "image": f"/inspections/{1:08}/image",
        "label": None,
        "conflicting": False,
        "feedback": [],
    }


def test_an_inspection_is_found_before_it_is_written(app, client, monkeypatch):
    monkeypatch.setattr(writer, "GATHER_S", 3600)
    services_of(app).records.recorder.record(inspected(3), image_of(3))
    assert client.get(f"/inspections/{3:08}").json["name"] == "3.png"
    services_of(app).records.recorder.record(inspected(4), image_of(4))
    assert client.get(f"/inspections/{4:08}/image").data == image_of(4)


def test_filters_come_from_the_query(client):
    def ids(**query: str) -> list[str]:
        return [one["id"][-1] for one in client.get("/inspections", query_string=query).json["inspections"]]

    assert ids(verdict="defective") == []
    assert ids(order="uncertain") == ["2", "1", "0"]
    assert ids(since="2026-03-01T06:01:00") == ["2", "1"]
    assert ids(until="2026-03-01T08:01:00+02:00") == ["0"]
    assert ids(labelled="false") == ["2", "1", "0"]


@pytest.mark.parametrize(
    "query", ["verdict=perhaps", "limit=0", "limit=501", "since=yesterday", "cursor=nonsense", "order=oldest"]
)
def test_a_wrong_query_is_refused(client, query):
    assert client.get(f"/inspections?{query}").status_code in (400, 422)


def test_the_image_comes_as_it_was_sent(client):
    answer = client.get(f"/inspections/{1:08}/image")
    assert (answer.status_code, answer.mimetype, answer.data) == (200, "image/png", image_of(1))
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_an_image_that_is_gone_says_so(app, client):
    services_of(app).records.images.remove(inspected(1).sha256, ".png")
    answer = client.get(f"/inspections/{1:08}/image")
    assert (answer.status_code, answer.mimetype) == (410, "application/problem+json")


@pytest.mark.parametrize("path", ["/inspections/nothing", "/inspections/nothing/image"])
def test_an_unknown_inspection_is_not_found(client, path):
    answer = client.get(path)
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")


def test_feedback_is_kept_and_shown(app, client):
    body = {
        "inspection_id": f"{1:08}",
        "label": "defective",
        "defect_type": "scratch",
        "comment": "left edge",
    }
    answer = client.post("/feedback", json=body)
    assert answer.status_code == 201
    assert {name: answer.json[name] for name in body} == body
    assert answer.json["by"] == "this machine"
    anna = key(app, "anna")
    client.post(
        "/feedback",
        json={"inspection_id": f"{1:08}", "label": "ok"},
        headers=anna,
        environ_overrides=REMOTE,
    )
    shown = client.get(f"/inspections/{1:08}", headers=anna).json
    assert (shown["label"], shown["conflicting"]) == ("ok", True)
    assert [one["by"] for one in shown["feedback"]] == ["anna", "this machine"]


@pytest.mark.parametrize(
    "change",
    [
        {"label": "fine"},
        {"defect_type": "../../etc"},
        {"defect_type": ".hidden"},
        {"defect_type": "Good"},
        {"defect_type": " good"},
        {"defect_type": "ｇｏｏｄ"},
        {"defect_type": "Index.csv"},  # the name of a file beside those folders
        {"defect_type": "burr."},
        {"comment": "a\0b"},
        {"comment": "x" * 2001},
    ],
    ids=str,
)
def test_wrong_feedback_is_refused(client, change):
    body = {"inspection_id": f"{1:08}", "label": "defective", **change}
    answer = client.post("/feedback", json=body)
    assert answer.status_code in (400, 422), answer.text
    assert client.get(f"/inspections/{1:08}").json["feedback"] == []


def test_feedback_on_an_unknown_inspection_is_not_found(client):
    assert client.post("/feedback", json={"inspection_id": "nothing", "label": "ok"}).status_code == 404


def test_an_operator_may_give_feedback_but_not_retrain(app, client):
    headers = key(app, "anna")
    assert client.get("/inspections", headers=headers, environ_overrides=REMOTE).status_code == 200
    answer = client.post("/retrain", headers=headers, environ_overrides=REMOTE)
    assert (answer.status_code, answer.mimetype) == (403, "application/problem+json")
    assert "has the role operator" in answer.json["detail"]


def test_an_admin_may_retrain(app, client, project):
    project.script("print('done')")
    headers = key(app, "chief", "admin")
    assert client.post("/retrain", headers=headers, environ_overrides=REMOTE).status_code == 200


def test_nobody_else_sees_inspections_or_gives_feedback(app, client):
    paths = ["/inspections", f"/inspections/{1:08}", f"/inspections/{1:08}/image"]
    for path in paths:
        assert client.get(path, environ_overrides=REMOTE).status_code == 403
    headers = key(app, "anna")
    revoke_key(services_of(app).records.database, "anna")
    key(app, "ben")
    for path in paths:
        assert client.get(path, headers=headers, environ_overrides=REMOTE).status_code == 401
    assert (
        client.post(
            "/feedback", json={"inspection_id": f"{1:08}", "label": "ok"}, environ_overrides=REMOTE
        ).status_code
        == 401
    )


def test_behind_a_declared_proxy_this_machine_needs_a_key_too(project):
    app = create_app(project.config("serving.behind_proxy=true"))
    client = app.test_client()
    answer = client.get("/inspections")
    assert answer.status_code == 403
    assert "serving.behind_proxy" in answer.json["detail"]
    assert client.get("/inspections", headers=key(app, "anna")).status_code == 200
    services_of(app).records.close()


def test_a_lost_database_is_said_and_what_was_inspected_meanwhile_waits(app, client, project):
    records = services_of(app).records
    assert client.get("/health/records").json["status"] == "recording"
    assert (
        client.get("/access").json["role"] == "admin"
    )  # known to be without keys before the database is lost
    records.database.close()
    file = project.root / "inspections.db"
    file.rename(project.root / "away.db")
    file.mkdir()
    records.recorder.record(inspected(9), image_of(9))
    while records.recorder.state().error is None:
        pass
    for answer in (
        client.get("/inspections"),
        client.post("/feedback", json={"inspection_id": "1", "label": "ok"}),
    ):
        assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
        assert "inspections.db" in answer.json["detail"]
    shown = client.get("/health/records").json
    assert (shown["status"], shown["written"], shown["waiting"], shown["lost"]) == ("failing", 3, 1, 0)
    assert datetime.fromisoformat(shown["failing_since"]) <= datetime.now(UTC)
    file.rmdir()
    (project.root / "away.db").rename(file)
    assert records.recorder.flush(LIMIT_S)
    assert client.get("/health/records").json["status"] == "recording"


def test_feedback_waits_for_an_inspection_that_is_being_written(app, project):
    file = project.root / "inspections.db"
    file.mkdir()
    records = services_of(app).records
    records.recorder.record(inspected(1), image_of(1))
    while records.recorder.state().error is None:
        pass
    file.rmdir()
    answer = app.test_client().post("/feedback", json={"inspection_id": f"{1:08}", "label": "ok"})
    assert answer.status_code == 201


def test_feedback_finds_an_inspection_that_is_written_just_after_the_first_look(app, monkeypatch):
    recorder = services_of(app).records.recorder
    looks: list[str] = []

    def look(database, inspection_id):
        looks.append(inspection_id)
        if len(looks) == 1:
            assert recorder.flush(LIMIT_S)
            raise UnknownRecordError("not written yet")
        return find_inspection(database, inspection_id)

    monkeypatch.setattr(record_views, "find_inspection", look)
    recorder.record(inspected(1), image_of(1))
    answer = app.test_client().post("/feedback", json={"inspection_id": f"{1:08}", "label": "ok"})
    assert (answer.status_code, len(looks)) == (201, 2)


def test_feedback_does_not_wait_for_inspections_that_come_after(app, monkeypatch):
    def never_empty(recorder, timeout_s):
        time.sleep(0.01)
        return False

    monkeypatch.setattr(RecordWriter, "flush", never_empty)
    body = {"inspection_id": f"{1:08}", "label": "ok"}
    with ThreadPoolExecutor(1) as pool:
        with services_of(app).records.images.lock:  # it is written after the first look
            services_of(app).records.recorder.record(inspected(1), image_of(1))
            answer = pool.submit(app.test_client().post, "/feedback", json=body)
            time.sleep(0.2)
        assert answer.result(LIMIT_S).status_code == 201


def test_feedback_on_what_cannot_be_stored_in_time_says_so(app, project, monkeypatch):
    monkeypatch.setattr(record_views, "FLUSH_S", 0.1)
    with services_of(app).records.images.lock:  # nothing is written meanwhile
        services_of(app).records.recorder.record(inspected(1), image_of(1))
        answer = app.test_client().post("/feedback", json={"inspection_id": f"{1:08}", "label": "ok"})
    assert answer.status_code == 503
    assert "not stored within 0.1 s; try again" in answer.json["detail"]


def test_feedback_on_what_is_being_pruned_is_not_found(project, postgres_url, monkeypatch):
    """The two transactions cross each other: tests/records/test_label_race.py has all cases."""
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    app = create_app(project.config())
    records, other = services_of(app).records, Database(postgres_url)
    records.recorder.record(inspected(1), image_of(1))
    assert records.recorder.flush(LIMIT_S)
    with paused_at(other, "DELETE FROM inspections") as (reached, go_on), ThreadPoolExecutor(2) as pool:
        pruning = pool.submit(prune, other, records.images, 1, None, share=None)
        assert reached.wait(LIMIT_S)
        body = {"inspection_id": f"{1:08}", "label": "defective"}
        asked = pool.submit(app.test_client().post, "/feedback", json=body)
        while not asked.done() and not is_waiting(other):
            time.sleep(0.01)
        go_on.set()
        assert pruning.result(LIMIT_S).inspections == 1
        answer = asked.result(LIMIT_S)
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")
    assert "deleted by pruning" in answer.json["detail"]
    records.close()
    other.close()


SERVE = """
import sys
from pathlib import Path
from defect_detection.config import load_config
from defect_detection.records import maintenance
from defect_detection.serving.app import serve
maintenance.FIRST_S = 0.0
serve(load_config(Path("config.yaml"), ["serving.host=127.0.0.1", f"serving.port={sys.argv[1]}", "records.keep_days=1"]))
"""


def test_the_server_prunes_by_itself_while_it_serves(project):
    records = Records.of(project.config())
    records.recorder.record(inspected(1, at=datetime.now(UTC) - timedelta(days=2)), image_of(1))
    assert records.recorder.flush(LIMIT_S)
    records.close()
    log = project.root / "log.txt"
    command = [python(), "-c", SERVE, str(free_port())]
    with log.open("w") as file, subprocess.Popen(command, cwd=project.root, stderr=file) as server:
        wait_until(lambda: server.poll() is not None or "pruned: " in log.read_text())
        server.send_signal(signal.SIGTERM)
    assert server.returncode == 0, log.read_text()
    assert "pruned: 1 inspections, 1 images" in log.read_text()
