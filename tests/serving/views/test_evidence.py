"""The evidence map of a recorded image, by the served model."""

import io

import numpy as np
import pytest
from PIL import Image
from recorded import inspected
from tiny import BRIGHT, CELLS, DARK, SIDE, encoded
from waiting import LIMIT_S

from defect_detection.records.keys import create_key
from defect_detection.serving.app import create_app
from defect_detection.serving.services import services_of

REMOTE = {"REMOTE_ADDR": "192.0.2.7"}
LEFT_DARK = encoded(np.concatenate([DARK[:, : SIDE // 2], BRIGHT[:, SIDE // 2 :]], axis=1))


def record(app, content: bytes, number: int = 1, **facts: object) -> str:
    """Record an inspection as if it had been made, and return the address of its evidence."""
    recorder = services_of(app).records.recorder
    recorder.record(inspected(number, content, **facts), content)
    assert recorder.flush(LIMIT_S)
    return f"/inspections/{number:08}/evidence"


def test_evidence_is_what_the_model_served_now_sees(app):
    """The tiny model's evidence is each cell's darkness minus 0.5, its score that of the whole image."""
    path = record(app, LEFT_DARK, verdict="ok", score=0.1, threshold=0.9, model_version=2)
    answer = app.test_client().get(path)
    assert answer.status_code == 200
    row = [0.5] * (CELLS // 2) + [-0.5] * (CELLS // 2)
    assert answer.json == {
        "id": f"{1:08}",
        "evidence": {"shape": [CELLS, CELLS], "extent": [0, 0, 1, 1], "values": [row] * CELLS},
        "verdict": "defective",
        "score": 0.5,
        "threshold": 0.5,
        "image_size": [32, 32],
        "boxes": [{"box": [0, 0, 16, 32], "area_px": 512, "share": 0.731}],
        "page": 1,
        "model": {"name": "Production_Reg", "version": 3, "uri": "models:/Production_Reg/3"},
    }


def test_it_agrees_with_the_prediction_on_the_same_image(app):
    client = app.test_client()
    said = client.post("/predict?explain=array", data=LEFT_DARK, content_type="image/png").json
    seen = client.get(f"/inspections/{said['id']}/evidence").json
    assert seen["evidence"]["values"] == said["evidence"]["values"]
    assert [seen[name] for name in ("verdict", "score", "model")] == [
        said[name] for name in ("verdict", "score", "model")
    ]


def test_to_ask_is_neither_recorded_nor_counted(app):
    client = app.test_client()
    path = record(app, LEFT_DARK)
    before = client.get("/inspections/00000001").json
    client.get(path)
    assert services_of(app).records.recorder.flush(LIMIT_S)
    assert client.get("/inspections").json["inspections"] == [before]
    counted = [line for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
    assert not [line for line in counted if line.startswith("defect_verdicts_total")]


def test_without_the_inspection_its_image_or_a_model_it_says_which(app, project):
    client = app.test_client()
    path = record(app, LEFT_DARK)
    assert client.get("/inspections/nothing/evidence").status_code == 404
    services_of(app).records.images.remove(inspected(1, LEFT_DARK).sha256, ".png")
    gone = client.get(path)
    assert (gone.status_code, gone.mimetype) == (410, "application/problem+json")
    assert "is not stored" in gone.json["detail"]
    without = create_app(project.config(), lambda: None)
    path = record(without, LEFT_DARK, 2)
    answer = without.test_client().get(path)
    assert (answer.status_code, "No model is in production" in answer.json["detail"]) == (503, True)
    services_of(without).served.stop()
    services_of(without).records.close()


@pytest.mark.parametrize(
    ("override", "content", "status", "words"),
    [
        ("data.max_pixels=1000", LEFT_DARK, 413, "data.max_pixels"),
        ("seed=1", LEFT_DARK[:80], 422, "damaged"),
        ("seed=1", b"no image at all", 415, "expected a JPEG, PNG"),
    ],
    ids=["too large now", "cut off", "no image"],
)
def test_limits_are_those_of_a_prediction(predicting, override, content, status, words):
    app = predicting(override)
    answer = app.test_client().get(record(app, content))
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert words in answer.json["detail"]
    services_of(app).records.close()


def test_who_may_not_see_inspections_may_not_see_evidence(app):
    path = record(app, LEFT_DARK)
    client = app.test_client()
    assert client.get(path, environ_overrides=REMOTE).status_code == 403
    key = create_key(services_of(app).records.database, "anna", "operator")
    assert client.get(path, headers={"X-API-Key": key}, environ_overrides=REMOTE).status_code == 200


def tiff_of(*pictures: np.ndarray) -> bytes:
    first, *others = map(Image.fromarray, pictures)
    first.save(file := io.BytesIO(), "TIFF", save_all=True, append_images=others)
    return file.getvalue()


def test_a_tiff_has_a_preview_that_a_browser_can_show(app):
    deep = np.linspace(0, 65535, 40 * 60).reshape(40, 60).astype(np.uint16)
    path = record(app, tiff_of(deep)).replace("evidence", "preview")
    answer = app.test_client().get(path)
    assert (answer.status_code, answer.mimetype) == (200, "image/png")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(answer.data)))[..., 0], deep // 257)


def test_a_preview_is_small_and_keeps_the_shape(app):
    path = record(app, encoded(np.zeros((3000, 1500, 3), np.uint8))).replace("evidence", "preview")
    answer = app.test_client().get(path)
    assert Image.open(io.BytesIO(answer.data)).size == (1024, 2048)
    assert answer.headers["Image-Size"] == "1500 3000"  # the boxes of the inspection are in these pixels


def test_a_preview_shows_the_page_that_is_asked_for(predicting):
    app = predicting("data.pages=all")
    path = record(app, tiff_of(BRIGHT, DARK)).replace("evidence", "preview")
    client = app.test_client()
    for query, value in (("", 255), ("?page=2", 0)):
        assert (np.asarray(Image.open(io.BytesIO(client.get(path + query).data))) == value).all()
    assert client.get(path + "?page=3").status_code == 404
    assert client.get(path.replace("preview", "evidence")).json["page"] == 2


def test_a_preview_asks_for_a_key_as_the_image_does(app):
    path = record(app, LEFT_DARK)
    for address in (path, path.replace("evidence", "preview"), path.replace("evidence", "image")):
        assert app.test_client().get(address, environ_overrides=REMOTE).status_code == 403
