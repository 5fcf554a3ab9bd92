"""``POST /predict``: verdicts, explanations, several images, and what is recorded."""

import base64
import csv
import hashlib
import io

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image
from tiny import BRIGHT, DARK, SIDE, encoded
from waiting import LIMIT_S

from defect_detection.data.reference import learn_reference, look_of
from defect_detection.inference.inspect import Inspector
from defect_detection.serving.app import create_app
from defect_detection.serving.services import services_of
from defect_detection.tracking.reading import ModelRef

PROBLEM = "application/problem+json"


class Kept:
    """A recorder that remembers."""

    def __init__(self) -> None:
        self.all = []

    def record(self, recorded, content):
        self.all.append((recorded, content))

    def check(self):
        pass


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def client(predicting, kept) -> FlaskClient:
    return predicting(recorder=kept).test_client()


def files(*contents: bytes) -> list[tuple[io.BytesIO, str]]:
    return [(io.BytesIO(content), f"part-{number}.png") for number, content in enumerate(contents)]


def send(client: FlaskClient, *contents: bytes, query: str = "", **fields: str):
    return client.post(f"/predict{query}", data={"image": files(*contents), **fields})


def test_one_image_gets_a_verdict_with_all_that_decided_it(client):
    answer = send(client, encoded(DARK))
    assert answer.status_code == 200
    assert answer.json.keys() >= {"id", "latency_ms"}
    known = {key: value for key, value in answer.json.items() if key not in ("id", "latency_ms")}
    assert known == {
        "name": "part-0.png",
        "verdict": "defective",
        "score_is": "probability",
        "score": pytest.approx(1.0),
        "threshold": 0.5,
        "reason": None,
        "novelty": None,
        "model": {"name": "Production_Reg", "version": 3, "uri": "models:/Production_Reg/3"},
        "defect_type": None,
        "defect_type_probability": None,
        "defect_types": [],
        "image_size": [32, 32],
        "boxes": [{"box": [0, 0, 32, 32], "area_px": 1024, "share": 1.0, "box_mm": None, "area_mm2": None}],
        "ignored_boxes": 0,
        "evidence": None,
        "error": None,
        "results": [{key: value for key, value in answer.json.items() if key != "results"}],
        "page": 1,
        "pages": 1,
    }
    assert len(answer.json["id"]) == 32
    assert answer.json["latency_ms"] > 0


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", ""])
def test_an_image_may_be_the_body_whatever_its_type_is_called(client, form, kind):
    answer = client.post("/predict?name=a.png", data=encoded(DARK, form), content_type=kind)
    assert (answer.status_code, answer.json["verdict"], answer.json["name"]) == (200, "defective", "a.png")


def test_http_gives_the_score_that_python_gives(client, bundle):
    from defect_detection.inference.inspect import Inspector

    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    content = encoded(pixels)
    (inspection,) = Inspector.load(bundle).inspect([content])
    assert send(client, content).json["score"] == inspection.score


def test_several_images_get_their_verdicts_in_order(client):
    shades = [0, 255, 51, 204, 102]
    contents = [encoded(np.full((SIDE, SIDE, 3), shade, np.uint8)) for shade in shades]
    results = send(client, *contents).json["results"]
    assert [result["name"] for result in results] == [f"part-{i}.png" for i in range(5)]
    assert [result["score"] for result in results] == pytest.approx(
        [1 - shade / 255 for shade in shades], abs=1e-6
    )
    assert len({result["id"] for result in results}) == 5


def test_a_bad_image_among_several_gets_an_error_and_the_others_their_verdicts(client):
    results = send(client, encoded(DARK), b"hello", encoded(DARK)[:60], encoded(BRIGHT)).json["results"]
    assert [result.get("verdict") for result in results] == ["defective", None, None, "ok"]
    assert [result["error"]["status"] for result in results[1:3]] == [415, 422]
    assert results[1]["error"].keys() == {"type", "title", "status", "detail"}


def test_explain_gives_the_evidence_as_an_array(client):
    half = np.concatenate([DARK[: SIDE // 2], BRIGHT[: SIDE // 2]])
    evidence = send(client, encoded(half), query="?explain=array").json["evidence"]
    assert evidence["shape"] == [4, 4]
    assert evidence["values"] == [[0.5] * 4, [0.5] * 4, [-0.5] * 4, [-0.5] * 4]


@pytest.mark.parametrize("explain", ["1", "true", "overlay"])
def test_explain_gives_the_image_with_its_evidence_over_it(client, explain):
    half = np.concatenate([DARK[: SIDE // 2], BRIGHT[: SIDE // 2]])
    evidence = send(client, encoded(half), query=f"?explain={explain}").json["evidence"]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(evidence["overlay_png"]))))
    assert (evidence["shape"], evidence["values"]) == ([4, 4], None)
    assert shown.shape == (SIDE, SIDE, 3)
    assert (shown[0] != 0).any()  # heat over what is dark
    assert (shown[-1] == 255).all()  # none over what is bright


def test_the_picture_stands_in_the_answer_once(client):
    one = send(client, encoded(DARK), query="?explain=1").json
    assert one["evidence"]["overlay_png"]
    assert one["results"][0]["evidence"] == one["evidence"] | {"overlay_png": None}
    assert one["results"][0] | {"evidence": one["evidence"], "results": one["results"]} == one
    several = send(client, encoded(DARK), encoded(DARK), query="?explain=1").json
    assert several["evidence"] is None
    assert all(result["evidence"]["overlay_png"] for result in several["results"])
    numbers = send(client, encoded(DARK), query="?explain=array").json
    assert numbers["results"][0]["evidence"] == numbers["evidence"]


def test_an_overlay_has_the_shape_and_size_of_the_image(client):
    wide = np.concatenate([np.zeros((50, 200, 3), np.uint8), np.full((50, 200, 3), 255, np.uint8)], axis=1)
    evidence = send(client, encoded(wide), query="?explain=1").json["evidence"]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(evidence["overlay_png"]))))
    assert shown.shape == wide.shape
    assert (shown[:, :100] != 0).any(axis=2).all()  # heat over what is dark
    assert (shown[:, 300:] == 255).all()


def views(*pictures: np.ndarray) -> bytes:
    first, *others = map(Image.fromarray, pictures)
    first.save(file := io.BytesIO(), "TIFF", save_all=True, append_images=others)
    return file.getvalue()


def test_several_pages_are_refused_with_that_reason(client):
    answer = send(client, views(BRIGHT, DARK))
    assert (answer.status_code, answer.mimetype) == (422, PROBLEM)
    assert "2 pages; data.pages says refuse" in answer.json["detail"]


@pytest.mark.parametrize(("pages", "verdict", "page", "count", "shown"), [
    ("first", "ok", 1, 1, (50, 30)),
    ("all", "defective", 2, 3, (20, 70)),
])  # fmt: skip
def test_pages_are_judged_as_the_settings_say(predicting, pages, verdict, page, count, shown):
    app = predicting(f"data.pages={pages}")
    sizes = ((30, 50), (70, 20), (30, 30))
    pictures = [
        np.full((*size, 3), value, np.uint8) for size, value in zip(sizes, (255, 0, 255), strict=True)
    ]
    answer = send(app.test_client(), views(*pictures), query="?explain=1").json
    assert [answer[name] for name in ("verdict", "page", "pages")] == [verdict, page, count]
    assert Image.open(io.BytesIO(base64.b64decode(answer["evidence"]["overlay_png"]))).size == shown


def test_a_picture_is_answered_to_who_accepts_pictures(client):
    answer = client.post(
        "/predict", data=encoded(DARK), content_type="image/png", headers={"Accept": "image/png"}
    )
    assert (answer.status_code, answer.mimetype) == (200, "image/png")
    assert Image.open(io.BytesIO(answer.data)).size == (SIDE, SIDE)
    assert answer.headers["X-Verdict"] == "defective"


def test_a_picture_cannot_answer_several_images(client):
    answer = client.post(
        "/predict", data={"image": files(encoded(DARK), encoded(DARK))}, headers={"Accept": "image/png"}
    )
    assert (answer.status_code, answer.mimetype) == (406, PROBLEM)


def test_every_verdict_is_recorded_with_what_was_sent_along(client, kept):
    content = encoded(DARK)
    sent = send(client, content, line="3", part="A-7").json
    ((recorded, bytes_),) = kept.all
    assert bytes_ == content
    assert (recorded.id, recorded.sha256) == (sent["id"], hashlib.sha256(content).hexdigest())
    assert (recorded.name, recorded.verdict, recorded.score) == ("part-0.png", "defective", sent["score"])
    assert (recorded.model_name, recorded.model_version) == ("Production_Reg", 3)
    assert (recorded.line, recorded.part, recorded.group) == ("3", "A-7", "")


def test_names_of_lines_and_lots_are_kept_without_outer_blanks_and_control_characters(client, kept):
    send(client, encoded(DARK), line="line 3 \n", query="?group=%20lot 1")
    assert (kept.all[0][0].line, kept.all[0][0].group) == ("line 3", "lot 1")
    assert "part" in send(client, encoded(DARK), part="A\0B").json["detail"]
    assert send(client, encoded(DARK), query="?line=a%0ab").status_code == 422


def test_what_got_no_verdict_is_not_recorded(client, kept):
    send(client, b"hello")
    assert kept.all == []


def test_a_wrong_parameter_is_named(client):
    answer = send(client, encoded(DARK), query="?explain=heatmap")
    assert (answer.status_code, answer.mimetype) == (422, PROBLEM)
    assert "explain" in answer.json["detail"]
    assert "'heatmap'" in answer.json["detail"]


def test_without_a_model_the_answer_says_how_to_get_one(project):
    from defect_detection.serving.app import create_app

    app = create_app(project.config(), lambda: None)
    answer = send(app.test_client(), encoded(DARK))
    assert (answer.status_code, answer.mimetype) == (503, PROBLEM)
    assert "defect train" in answer.json["detail"]
    services_of(app).served.stop()


def test_requests_verdicts_and_scores_are_counted(client):
    send(client, encoded(DARK), encoded(BRIGHT), b"hello")
    client.get("/nothing/of/that/name")
    text = client.get("/metrics").text
    assert 'defect_requests_total{method="POST",route="/predict",status="200"} 1.0' in text
    assert 'defect_requests_total{method="GET",route="none",status="404"} 1.0' in text
    assert 'defect_verdicts_total{model_version="3",verdict="defective"} 1.0' in text
    assert 'defect_verdicts_total{model_version="3",verdict="ok"} 1.0' in text
    assert 'defect_model{name="Production_Reg",version="3"} 1.0' in text
    assert "defect_score_count 2.0" in text


# -- unlike the training images ---------------------------------------------------------------------------------------


@pytest.fixture
def guarding(project, bundle) -> FlaskClient:
    """A server whose model knows that its training images were neither black nor white."""
    inspector = Inspector.load(bundle)
    looks = np.array([look_of(np.full((SIDE, SIDE, 3), gray, np.uint8)) for gray in range(120, 140)])
    reference = learn_reference(looks, np.full((20, 2), SIDE), np.arange(20) % 5)
    inspector.card = inspector.card.model_copy(update={"reference": reference})
    app = create_app(project.config(), lambda: ModelRef("Production_Reg", 3, "run", {}), lambda _: inspector)
    yield app.test_client()
    services_of(app).served.stop()
    services_of(app).records.close()


def test_an_image_unlike_those_of_training_is_for_review_and_the_reason_is_said(guarding):
    said = guarding.post("/predict", data=encoded(BRIGHT), content_type="image/png").json
    assert (said["verdict"], said["score"]) == ("review", 0)
    assert said["reason"].startswith("brightness 255 is outside ")
    shown = guarding.post(
        "/predict", data=encoded(BRIGHT), content_type="image/png", headers={"Accept": "image/png"}
    )
    assert (shown.headers["X-Verdict"], shown.headers["X-Reason"]) == ("review", said["reason"])
    assert (
        guarding.post("/predict", data=encoded(DARK), content_type="image/png").json["verdict"] == "defective"
    )
    gray = encoded(np.full((SIDE, SIDE, 3), 130, np.uint8))
    assert guarding.post("/predict", data=gray, content_type="image/png").json["reason"] is None
    assert 'defect_unlike_training_total{model_version="3"} 3.0' in guarding.get("/metrics").text


def test_the_reason_is_kept_with_the_inspection(guarding):
    reason = guarding.post("/predict", data=encoded(BRIGHT), content_type="image/png").json["reason"]
    gray = encoded(np.full((SIDE, SIDE, 3), 130, np.uint8))
    guarding.post("/predict", data=gray, content_type="image/png")
    assert services_of(guarding.application).records.recorder.flush(LIMIT_S)
    listed = guarding.get("/inspections?order=uncertain").json["inspections"]
    assert [one["reason"] for one in listed] == [reason, None]  # a person decides: it comes first
    assert guarding.get(f"/inspections/{listed[0]['id']}").json["reason"] == reason
    rows = list(csv.DictReader(io.StringIO(guarding.get("/inspections.csv").data.decode("utf-8-sig"))))
    assert [row["reason"] for row in rows] == ["", reason]


def test_the_reason_is_an_output_of_the_inference_protocol(guarding):
    body = {
        "inputs": [
            {
                "name": "image",
                "datatype": "UINT8",
                "shape": [1, SIDE, SIDE, 3],
                "data": BRIGHT.ravel().tolist(),
            }
        ],
        "outputs": [{"name": "verdict"}, {"name": "reason"}],
    }
    verdict, reason = guarding.post("/v2/models/Production_Reg/infer", json=body).json["outputs"]
    assert verdict["data"] == ["review"]
    assert reason["data"][0].startswith("brightness 255 is outside ")
