"""Unknown names, duplicate names and unknown addresses are refused."""

import io
import json
import re

import pytest
from flask.testing import FlaskClient
from pydantic import BaseModel
from tiny import BRIGHT, DARK, encoded

from defect_detection.serving.services import services_of
from defect_detection.serving.strict import NOTHING

PNG = encoded(DARK)
LONG = 22_000  # bytes: more than is taken where no images are
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.fixture
def client(app) -> FlaskClient:
    return app.test_client()


def image(name: str = "a.png") -> tuple[io.BytesIO, str]:
    return io.BytesIO(PNG), name


def is_problem(answer, status: int) -> str:
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json"), answer.text
    assert answer.json.keys() == {"type", "title", "status", "detail"}
    return answer.json["detail"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/inspections?verdikt=ok", "unknown query parameter 'verdikt', did you mean 'verdict'?"),
        ("/inspections?VERDICT=ok", "did you mean 'verdict'?"),
        ("/inspections?colour=red", "expected one of: search, verdict, "),
        ("/inspections?verdict=ok&verdict=defective", "'verdict': expected once, received 2 times"),
        ("/jobs?limits=3", "did you mean 'limit'?"),
        ("/history?limt=3", "did you mean 'limit'?"),
        ("/statistics?period=3", "did you mean 'periods'?"),
        ("/models?name=a", "'name', expected one of: product"),
        ("/health/ready?verbose=1", "'verbose', expected one of: product"),
        ("/jobs/7?log=1", "none is accepted here"),
        ("/inspections/7/image?size=9", "none is accepted here"),
        ("/metrics?name=up", "none is accepted here"),
    ],
)
def test_an_unknown_parameter_is_refused_and_the_one_that_was_meant_is_named(client, path, said):
    assert said in is_problem(client.get(path), 422)


def test_each_operation_refuses_a_parameter_that_it_does_not_know(app):
    client, asked = app.test_client(), 0
    for path, item in app.api_doc["paths"].items():
        if path.startswith("/v2"):
            continue
        for method in item:
            answer = client.open(f"{re.sub(r'{.+?}', '1', path)}?surplus=1", method=method.upper())
            assert "'surplus'" in is_problem(answer, 422), f"{method} {path}"
            asked += 1
    assert asked >= 50


@pytest.mark.parametrize(
    ("fields", "query", "said"),
    [
        ({"Group": "LOT7"}, "", "unknown form field 'Group', did you mean 'group'?"),
        (
            {"lot": "7", "grupp": "7"},
            "",
            "'lot', expected one of: image, group, line, station, part, product, explain; unknown",
        ),
        ({"explian": "1"}, "", "did you mean 'explain'?"),
        ({"explain": "heatmap"}, "", "explain: Input should be '0'"),
        ({"group": "x" * 201}, "", "group: String should have at most 200 characters"),
        ({"group": ["a", "b"]}, "", "form field 'group': expected once, received 2 times"),
        (
            {"group": "a"},
            "?group=b",
            "group: expected once, received as a form field and as a query parameter",
        ),
        ({"group": image()}, "", "form field 'group': expected a text, received a file"),
        ({"Image": image()}, "", "unknown form field 'Image', did you mean 'image'?"),
        ({}, "?grup=LOT7", "unknown query parameter 'grup', did you mean 'group'?"),
        ({}, "?name=b.png", "a file in a form has its own name"),
    ],
)
def test_an_unknown_field_of_a_form_is_refused_and_the_image_not_recorded(app, client, fields, query, said):
    answer = client.post(f"/predict{query}", data={"image": image(), **fields})
    assert said in is_problem(answer, 422)
    assert services_of(app).records.recorder.state().waiting == 0


def test_an_image_that_is_called_otherwise_is_not_lost(client):
    assert "did you mean 'image'?" in is_problem(client.post("/predict", data={"images": image()}), 422)
    both = {"image": [image(), "a text"]}
    assert "a text without a file name" in is_problem(client.post("/predict", data=both), 422)


def test_explain_may_be_a_field_of_the_form(client):
    answer = client.post("/predict", data={"image": image(), "explain": "array", "group": "LOT7"})
    assert answer.json["evidence"]["shape"] == [4, 4]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_every_answer_of_predict_has_the_same_keys(client, n):
    contents = [PNG, encoded(BRIGHT), b"no image"][:n]
    sent = [(io.BytesIO(content), f"{number}.png") for number, content in enumerate(contents)]
    answer = client.post("/predict", data={"image": sent}).json
    assert [one["name"] for one in answer["results"]] == [f"{number}.png" for number in range(n)]
    assert {frozenset(one) for one in answer["results"]} == {frozenset(answer) - {"results"}}
    at_the_top = {name: value for name, value in answer.items() if name != "results"}
    assert at_the_top == (answer["results"][0] if n == 1 else dict.fromkeys(at_the_top))
    assert [one["error"] is None for one in answer["results"]] == [True, True, False][:n]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        (
            "/feedback",
            '{"inspection_id": "1", "label": "ok", "coment": "x"}',
            "key 'coment', did you mean 'comment'?",
        ),
        (
            "/feedback",
            '{"inspection_id": "1", "label": "ok", "label": "defective"}',
            "key 'label': expected once",
        ),
        ("/feedback", '{"inspection_id": "1",', "body: expected JSON, received something else"),
        ("/feedback", "[" * 9000, "body: expected JSON, received something else"),
        ("/models/rollback", '{"x": 3}', "unknown key 'x', expected one of: to, reason"),
        (
            "/models/3/promote",
            '{"reason": "good", "Reason": "better"}',
            "unknown key 'Reason', did you mean 'reason'?",
        ),
    ],
)
def test_an_unknown_key_of_a_body_is_refused(client, path, body, said):
    assert said in is_problem(client.post(path, data=body, content_type="application/json"), 422)


def test_a_body_without_its_type_is_told_which_header_is_missing(client):
    said = is_problem(client.post("/feedback", data={"label": "ok"}), 422)
    assert (
        "'Content-Type: application/json', received the Content-Type application/x-www-form-urlencoded"
        in said
    )


@pytest.mark.parametrize("body", ['{"epochs": 3}', "epochs=3"])
@pytest.mark.parametrize("path", ["/retrain", "/jobs/7/cancel"])
def test_a_body_where_none_is_taken_is_refused(client, path, body):
    assert "send the request without a body" in is_problem(client.post(path, data=body), 422)


@pytest.mark.parametrize("body", [*NOTHING, b"{ }\n"])
def test_a_body_that_says_nothing_is_none(client, body):
    is_problem(client.post("/jobs/7/cancel", data=body, content_type="application/json"), 404)


def test_clients_of_the_open_protocol_may_send_parameters_of_their_own(client):
    assert client.get("/v2?trace=1").status_code == 200
    assert client.get("/v2/models/Production_Reg?trace=1").status_code == 200


# -- addresses that do not exist --------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, LONG])
@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("POST", "/predict/", 404, "No such address: '/predict/', did you mean /predict?"),
        ("POST", "//predict", 404, "did you mean /predict?"),
        ("POST", "/Predict", 404, "did you mean /predict?"),
        ("POST", "/predct", 404, "did you mean /predict?"),
        ("POST", "/nope", 404, "/docs lists the addresses of the API"),
        ("POST", "/api/v1/predict", 404, "No such address"),
        ("GET", "/inspections/7/evidence/", 404, "did you mean /inspections/7/evidence?"),
        ("PUT", "/predict", 405, "/predict accepts POST, received PUT"),
        ("POST", "/models", 405, "/models accepts GET, received POST"),
    ],
)
def test_what_is_wrong_with_an_address_is_told_whatever_the_body(
    send, client, method, path, status, said, length
):
    answer = send(method, path, b"x" * length, **{"Content-Type": "image/png"})
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert said in json.loads(answer.body)["detail"]
    assert (answer.headers["Allow"] is not None) == (status == 405)
    if path != "//predict":  # the server's own to refuse
        assert said in is_problem(client.open(path, method=method, data=b"x" * length), status)


def test_a_browser_gets_a_page_that_leads_on(client):
    answer = client.get("/page/reviews", headers={"Accept": BROWSER})
    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert '<a href="../page/review"><code>/page/review</code></a>' in answer.text
    assert answer.headers["Content-Security-Policy"]


def test_a_page_about_an_unknown_address_shows_its_name_as_text(client):
    answer = client.get("/<script>alert(1)</script>", headers={"Accept": BROWSER})
    assert "&lt;script&gt;" in answer.text
    assert "<script>alert" not in answer.text


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
def test_a_program_gets_a_problem(client, accept):
    assert is_problem(client.get("/page/reviews", headers={"Accept": accept}), 404)


def test_a_browser_that_asks_the_api_for_what_is_gone_gets_a_problem(client):
    assert is_problem(client.get("/jobs/nothing", headers={"Accept": BROWSER}), 404)


def test_the_schema_of_a_query_is_computed_once(app):
    queries = {one for one in models_below(BaseModel) if one.__name__.endswith(("Query", "Filter"))}
    queries = {one for one in queries if ".serving.views." in one.__module__}
    assert len(queries) >= 13
    assert [one for one in queries if one.model_json_schema() is not one.model_json_schema()] == []


def models_below(model):
    for one in model.__subclasses__():
        yield one
        yield from models_below(one)
