"""Texts of callers: one rule for all fields and both databases, so none breaks a record, a table or a training."""

import csv
import io
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from recorded import image_of, inspected
from tiny import DARK, encoded
from waiting import LIMIT_S

from defect_detection.serving.services import services_of

CONTROLS = ("a\0b", "a\rb", "a\nb", "\x1b[31ma", "a\x85b", "a\u2028b", "a\x9bb")
PATHS = ("..", "../a", "a/../b", "..\\a", "/etc", "\\\\host\\a", "./a", " /a")
PLAIN = (
    "lot 7/2024",
    "A\\B",
    "-40 °C",
    "+5V",
    "@2",
    "=7",
    "v1.2.",
    "Förderband 3",
    "생산 1",
    ".5",
    "\n 3\r\n",
)


@pytest.fixture(params=["sqlite", "postgresql"])
def app(request: pytest.FixtureRequest, predicting, monkeypatch):
    if request.param == "postgresql":
        monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("postgres_url"))
    app = predicting()
    services_of(app).records.recorder.record(inspected(1), image_of(1))
    assert services_of(app).records.recorder.flush(LIMIT_S)
    yield app
    services_of(app).records.close()


@pytest.fixture
def client(app) -> FlaskClient:
    return app.test_client()


def send(client: FlaskClient, filename: str = "a.png", query: str = "", **fields: str):
    return client.post(f"/predict{query}", data={"image": (io.BytesIO(encoded(DARK)), filename), **fields})


def test_a_text_without_a_record_gets_no_verdict_and_a_plain_one_is_kept(app, client):
    for name in ("line", "part", "group"):
        for text in (*CONTROLS, *PATHS):
            for answer in (send(client, **{name: text}), send(client, query=f"?{name}={quote(text)}")):
                assert (answer.status_code, name in answer.text) == (422, True), (name, text, answer.text)
        for text in PLAIN:
            answer = send(client, **{name: text})
            assert answer.status_code == 200, (name, text, answer.text)
            assert services_of(app).records.recorder.flush(LIMIT_S)
            assert client.get(f"/inspections/{answer.json['id']}").json[name] == text.strip()
    state = services_of(app).records.recorder.state()
    assert (state.lost, state.error, state.written) == (0, None, 1 + 3 * len(PLAIN))


def test_a_name_of_a_file_holds_no_control_characters(app, client):
    for text in CONTROLS:
        body = client.post(f"/predict?name={quote(text)}", data=encoded(DARK), content_type="image/png")
        assert (body.status_code, "name" in body.text) == (422, True), text
    for text in ("a\0b.png", "a\x1bb.png"):
        assert "form field 'image': expected a file name" in send(client, filename=text).json["detail"]
    assert send(client, filename="line/-1.png").json["name"] == "-1.png"
    assert services_of(app).records.recorder.flush(LIMIT_S)
    assert services_of(app).records.recorder.state().written == 2


def test_no_address_and_no_body_with_a_control_character_is_an_error_of_the_server(app, client):
    asked = list(requests_with(client.get("/openapi.json").json, "a\0b"))
    assert len(asked) > 25
    for method, path, body in asked:
        answer = client.open(path, method=method, json=body) if body else client.open(path, method=method)
        assert 400 <= answer.status_code < 500 or (answer.status_code == 503 and "/v2" in path), (
            path,
            body,
            answer.text,
        )
        assert "[^" not in answer.text, "a person at the page reads words, not patterns"
    odd = "WyJuZXdlc3QiLCAiMjAyNi0wMy0wMVQwNjowMDowMCIsICJhXHUwMDAwYiJd"  # ["newest", "2026-03-01T06:00:00", "a\0b"]
    early = (
        "WyJuZXdlc3QiLCAiMDAwMS0wMS0wMVQwMDowMDowMCswNTowMCIsICJhIl0="  # the year 1, five hours before UTC's
    )
    for cursor in (odd, early):
        assert client.get(f"/inspections?cursor={cursor}").status_code == 400


def requests_with(document: dict, text: str) -> Iterator[tuple[str, str, dict | None]]:
    """Yield a request for each text that an operation of the API takes, with that text in its place."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            known = {one["name"]: one for one in operation.get("parameters", [])}
            plain_path = (
                path.replace("{id}", f"{1:08}").replace("{version}", "3").replace("{name}", "Production_Reg")
            )
            for name, one in known.items():
                if one["in"] == "path" and one["schema"].get("type") == "string":
                    yield method, path.replace(f"{{{name}}}", quote(text)).replace("{version}", "3"), None
                elif one["in"] == "query" and "string" in str(one["schema"]):
                    yield method, f"{plain_path}?{name}={quote(text)}", None
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            reference = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
            for name in document["components"]["schemas"].get(reference, {}).get("properties", {}):
                known_body = {"inspection_id": f"{1:08}", "label": "ok"} if path == "/feedback" else {}
                yield method, plain_path, {**known_body, name: text}


def test_a_type_of_defect_is_a_name_that_any_system_takes_for_a_folder(client):
    given = {"inspection_id": f"{1:08}", "label": "defective"}
    for text in ("Index.CSV ", "con", "NUL.txt", "com1", "node_modules", "a.", "..", "a/b", "=a", "a\rb"):
        answer = client.post("/feedback", json={**given, "defect_type": text})
        assert (answer.status_code, "defect_type" in answer.text) == (422, True), text
        assert "should match pattern" not in answer.text


def test_names_of_types_are_kept_in_one_form(client):
    for text, kept in (
        (" scratch \n", "scratch"),
        ("e\u0301raflure", "éraflure"),
        ("खरोंच", "खरोंच"),
        ("划痕", "划痕"),
    ):
        body = {
            "inspection_id": f"{1:08}",
            "label": "defective",
            "defect_type": text,
            "comment": "one\r\n\ttwo",
        }
        answer = client.post("/feedback", json=body)
        assert (answer.status_code, answer.json.get("defect_type")) == (201, kept), answer.text


def test_the_table_is_read_back_and_runs_no_formula(app, client):
    recorder = services_of(app).records.recorder
    texts = ["=1", "'=1", "''+1", "-a", "@a", "\uff1da", "'a", 'a"b,c', "a\rb", "a\nb"]
    for number, text in enumerate(texts, 10):
        recorder.record(inspected(number, group=text), image_of(number))
    assert recorder.flush(LIMIT_S)
    answer = client.get("/inspections.csv")
    cells = [row["group"] for row in csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig"), newline=""))]
    shown = cells[: len(texts)][::-1]
    assert shown == [f"'{text}" if text.lstrip("'")[0] in "=+-@\uff1d" else text for text in texts]
