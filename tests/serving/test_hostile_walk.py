"""All routes with invalid headers and bodies: requests are refused, change nothing and never cause a bug."""

import hashlib
import json
import re
import socket
import sqlite3
from http import HTTPStatus

import pytest
from recorded import image_of, inspected
from tiny import DARK, encoded
from waiting import LIMIT_S

from benchmarks.hostile_requests import HostileRequest, hostile_requests, written
from defect_detection.serving.problems import MEDIA_TYPE
from defect_detection.serving.services import services_of

STARTED = "from pathlib import Path; Path('started').touch()"


@pytest.fixture
def routes(app, project, send) -> list[tuple[str, str]]:
    """Each method and path of the application, with values that exist."""
    project.script(STARTED)
    recorder = services_of(app).records.recorder
    recorder.record(inspected(1), image_of(1))
    assert send("POST", "/predict", encoded(DARK), **{"Content-Type": "image/png"}).status == HTTPStatus.OK
    assert recorder.flush(LIMIT_S)
    job = json.loads(send("POST", "/retrain", Prefer="respond-async").body)["id"]
    send("POST", f"/jobs/{job}/cancel")  # so that its log ends
    known = {"run_id": "0" * 32, "name": "Production_Reg", "filename": "page.css", "version": "3"}
    known["product"] = "default"
    found = []
    for rule in app.url_map.iter_rules():
        values = known | {"id": job if rule.rule.startswith("/jobs") else inspected(1).id}
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda name, values=values: values[name[1]], rule.rule)
        found += [
            (method, path) for method in sorted(rule.methods or ()) if method not in ("HEAD", "OPTIONS")
        ]
    return found


def answer(port: int, request: bytes) -> bytes:
    """Send bytes and the end of all sending, and return what comes until the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def state(project) -> str:
    """Return what tells any change of the database."""
    with sqlite3.connect(project.root / "inspections.db") as database:
        return hashlib.sha256("\n".join(database.iterdump()).encode(errors="replace")).hexdigest()


def said(body: bytes) -> dict[str, object]:
    """Return the JSON document that a body begins with; a further answer may follow it."""
    return dict(json.JSONDecoder().raw_decode(body.decode())[0])


def fault(request: HostileRequest, received: bytes, as_usual: int) -> str:
    """Say what is wrong with an answer; "" where nothing is. A request that ends before its announced length gets none."""
    if not received:
        return ""
    head, _, body = received.partition(b"\r\n\r\n")
    status, headers = int(head.split()[1]), head.decode("latin-1").lower()
    if status >= 500 and status != as_usual:
        return f"{status}"
    if status < 300 and request.changes:
        return f"{status}: accepted"
    if status >= 400 and not (MEDIA_TYPE in headers and said(body)["status"] == status):
        return f"{status} without a problem document"
    return "" if "cache-control: no-" in headers else "may be kept by a cache"


def test_no_header_and_no_body_is_a_bug_or_changes_anything(routes, app, project, send):
    looks = [route for route in routes if route[0] == "GET"]
    usual = {route: int(answer(send.port, written(*route, b"")).split()[1]) for route in looks}
    before, faults = state(project), []
    requests = [one for number, one in enumerate(hostile_requests(routes)) if one.changes or number % 5 == 0]
    for request in requests:
        received = answer(send.port, request.content)
        if found := fault(request, received, usual.get(tuple(request.name.split()[:2]), 0)):
            faults.append((request.name, found, request.content[:150], received[-300:]))
    assert faults == []
    assert services_of(app).records.recorder.flush(LIMIT_S)
    assert state(project) == before
    assert not (project.root / "started").exists()
    assert {tuple(one.name.split()[:2]) for one in requests} >= set(routes)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_json_is_utf_8_and_nothing_else_is_guessed(send, encoding):
    sent = '{"to": 3}'.encode(encoding)
    answer = send("POST", "/models/rollback", sent, **{"Content-Type": "application/json"})
    assert (answer.status, "expected JSON" in answer.body.decode()) == (HTTPStatus.UNPROCESSABLE_ENTITY, True)
