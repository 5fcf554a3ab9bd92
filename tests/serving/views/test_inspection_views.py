"""The list of inspections over HTTP: filters, and a table for spreadsheets."""

import csv
import io

import pytest
from flask.testing import FlaskClient
from recorded import image_of, inspected
from waiting import LIMIT_S

from defect_detection.records.feedback import add_feedback
from defect_detection.serving.app import create_app
from defect_detection.serving.services import services_of

FACTS = [
    {"name": "a.png", "line": "line 1", "group": "lot 1"},
    {"name": "=cmd()", "line": "line 2", "verdict": "defective"},
    {"name": "żółć, b.png", "line": "line 2", "part": "P-7"},
]


@pytest.fixture
def app(project):
    app = create_app(project.config())
    yield app
    services_of(app).records.close()


@pytest.fixture
def client(app) -> FlaskClient:
    records = services_of(app).records
    for number, facts in enumerate(FACTS):
        records.recorder.record(inspected(number, **facts), image_of(number))
    assert records.recorder.flush(LIMIT_S)
    add_feedback(records.database, f"{1:08}", "ok", "anna", comment="-a reflection")
    return app.test_client()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [2, 1, 0]),
        ("search=LOT", [0]),
        ("line=line 2", [2, 1]),
        ("line=line 2&verdict=ok", [2]),
        ("group=lot 1", [0]),
        ("part=P-7", [2]),
        ("label=ok", [1]),
        ("label=defective", []),
        ("until=2026-03-01T06:01:00", [0]),
    ],
)
def test_the_list_and_the_table_take_the_same_filters(client, query, found):
    listed = client.get(f"/inspections?{query}").json["inspections"]
    assert [int(one["id"]) for one in listed] == found
    assert [int(row["id"]) for row in table(client, query)] == found


def table(client: FlaskClient, query: str = "") -> list[dict[str, str]]:
    answer = client.get(f"/inspections.csv?{query}")
    assert answer.status_code == 200, answer.text
    assert answer.data.startswith("\ufeff".encode())
    return list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig"))))


def test_the_table_holds_labels_and_no_formula(client):
    odd, formula, first = table(client)
    assert (odd["name"], odd["label"]) == ("żółć, b.png", "")
    assert (formula["name"], formula["label"], formula["labelled_by"]) == ("'=cmd()", "ok", "anna")
    assert formula["comment"] == "'-a reflection"
    assert (first["line"], first["group"], first["model_version"]) == ("line 1", "lot 1", "3")
    assert float(first["score"]) == 0.1


def test_the_table_is_written_page_by_page(app, client, monkeypatch):
    monkeypatch.setattr("defect_detection.serving.views.inspections._ROWS", 1)
    assert [int(row["id"]) for row in table(client)] == [2, 1, 0]


def test_the_table_asks_for_a_key_as_the_list_does(client):
    for path in ("/inspections", "/inspections.csv"):
        assert client.get(path, environ_base={"REMOTE_ADDR": "192.0.2.7"}).status_code == 403


def test_reads_take_a_part_of_the_threads_and_others_are_told_to_come_again(app, client):
    reads = services_of(app).reads
    with reads.page(), reads.page():  # of 8 threads
        for path in ("/inspections", "/statistics"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            assert "Too many reads of records at the same time" in answer.json["detail"]
        for path in ("/inspections.csv", f"/inspections/{1:08}", "/health/live"):
            assert client.get(path).status_code == 200
    assert client.get("/inspections").status_code == 200


def test_one_table_is_written_at_a_time_until_its_last_line_is_sent(client):
    first = client.get("/inspections.csv", buffered=False)
    assert client.get("/inspections.csv").status_code == 503
    first.close()
    assert client.get("/inspections.csv").status_code == 200
    assert client.get("/inspections.csv?since=yesterday").status_code == 422
    assert client.get("/inspections.csv").status_code == 200
