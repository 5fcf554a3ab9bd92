"""The lines of the audit trail and their callers; a trail that cannot be written stops nothing."""

import json
import os
import stat
from pathlib import Path

import pytest
from tiny import DARK, encoded

from defect_detection.cli import main
from defect_detection.files import trail
from defect_detection.records.keys import create_key
from defect_detection.serving.noting import note_start
from defect_detection.serving.services import services_of

REMOTE = {"REMOTE_ADDR": "192.0.2.7"}


def lines(root, what: str) -> list[tuple[str, ...]]:
    read = [json.loads(line) for line in (root / trail.FILE).read_text().splitlines()]
    return [(one["who"], one["on"], one["outcome"]) for one in read if one["what"] == what]


def test_refusals_keys_and_images_that_are_read_leave_lines_without_a_key(app, project, monkeypatch):
    monkeypatch.setenv("DEFECT_USER", "anna")
    config = ["--config", str(project.root / "config.yaml")]
    key = create_key(services_of(app).records.database, "line 3", "operator")
    assert main(["keys", "create", "line 4", *config]) == 0
    assert main(["keys", "revoke", "line 4", *config]) == 0
    client = app.test_client()
    sent = {"X-API-Key": key}
    inspected = client.post("/predict", data=encoded(DARK), content_type="image/png").json["id"]
    services_of(app).records.recorder.flush(5)
    assert client.get(f"/inspections/{inspected}/image", headers=sent).status_code == 200
    assert client.get("/models", environ_overrides=REMOTE).status_code == 401
    assert client.post("/retrain", headers=sent).status_code == 403
    root = project.root
    assert lines(root, "key made") == [("anna", "line 4", "operator")]
    assert lines(root, "key revoked") == [("anna", "line 4", "operator")]
    assert lines(root, "image read") == [("line 3", f"/inspections/{inspected}/image", "200")]
    assert lines(root, "refused") == [("192.0.2.7", "GET /models", "401"), ("line 3", "POST /retrain", "403")]
    assert key not in (root / trail.FILE).read_text()
    assert stat.S_IMODE((root / trail.FILE).stat().st_mode) & 0o007 == 0


def test_refusals_of_one_caller_are_counted_and_callers_have_a_bound(app, project):
    client = app.test_client()
    for number in range(300):
        client.get("/models", environ_overrides={"REMOTE_ADDR": f"192.0.2.{number % 150}"})
    services_of(app).refusals.close()
    read = [json.loads(line) for line in (project.root / trail.FILE).read_text().splitlines()]
    assert sum(one.get("times", 1) for one in read) == 300
    assert len({one["who"] for one in read}) == trail.MOST_COUNTED + 1


def test_the_start_leaves_the_settings_without_secrets(project):
    note_start(project.config("serving.api_key=a key of sixteen characters", "serving.rate_limit=7"))
    text = (project.root / trail.FILE).read_text()
    assert "rate_limit" in text
    assert "sixteen" not in text


def test_the_file_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(trail, "MAX_BYTES", 1000)
    for number in range(100):
        trail.leave(tmp_path, "anna", "refused", f"a\nb{number}", "x" * 5000)
    files = sorted(one.name for one in tmp_path.iterdir())
    assert files == [trail.FILE, *(f"{trail.FILE}.{number}" for number in range(1, trail.EARLIER + 1))]
    assert all(one.stat().st_size < 3000 for one in tmp_path.iterdir())


def test_on_a_full_disk_the_line_goes_to_the_log(monkeypatch, caplog):
    monkeypatch.setattr(trail, "FILE", "full")
    trail.leave(Path("/dev"), "anna", "production moved", "version 2", "instead of version 3")
    assert "version 2" in caplog.text


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_a_trail_that_cannot_be_written_goes_to_the_log(app, project, caplog, kind):
    path = project.root / trail.FILE
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(project.root / "elsewhere")
    assert app.test_client().get("/models", environ_overrides=REMOTE).status_code == 403
    assert "GET /models" in caplog.text
    assert not (project.root / "elsewhere").exists()
