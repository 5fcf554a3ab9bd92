"""Decompression bombs: their cost is limited, and other requests do not wait for them."""

import io
import threading

import pytest
from hostile import wait_for
from PIL import Image
from tiny import DARK
from tiny import encoded as part

from benchmarks.hostile import encoded, jpeg_of_scans
from defect_detection.data.bounded import bounded
from defect_detection.data.bounds import DEFAULT_LIMITS
from defect_detection.data.outline import Outline
from defect_detection.serving.services import services_of

SCANS = jpeg_of_scans(2000, 1500)  # more than 2 s of any core
PROGRESSIVE = encoded(Image.fromarray(DARK), "JPEG", progressive=True)  # not plain, and quick


def test_the_files_of_a_form_cost_no_more_than_one(predicting):
    files = [(io.BytesIO(SCANS), "bomb.jpg") for _ in range(4)] + [(io.BytesIO(PROGRESSIVE), "a.jpg")]
    results = predicting().test_client().post("/predict", data={"image": files}).json["results"]
    assert {one["error"]["status"] for one in results} == {422}
    details = [one["error"]["detail"] for one in results]
    assert "processor time" in details[0]
    assert all("not decoded: the earlier images used" in detail for detail in details[1:])


def test_what_may_take_long_leaves_threads_for_ordinary_images(predicting):
    app = predicting("serving.threads=3")
    client, turns = app.test_client(), services_of(app).products.default.predicting.turns
    with turns.taking(Outline(9000, 9000), "full"):
        answer = client.post("/predict", data=PROGRESSIVE, content_type="image/jpeg")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert client.post("/predict", data=part(DARK), content_type="image/png").status_code == 200
    assert client.post("/predict", data=PROGRESSIVE, content_type="image/jpeg").status_code == 200


def test_an_ordinary_image_is_answered_while_another_is_being_decoded(predicting, tmp_path):
    client, end, done = predicting().test_client(), tmp_path / "end", []
    thread = threading.Thread(
        target=lambda: done.append(bounded(wait_for, "full", PROGRESSIVE, DEFAULT_LIMITS, path=end))
    )
    thread.start()
    answer = client.post("/predict", data=part(DARK), content_type="image/png")
    assert (answer.status_code, done) == (200, [])
    end.touch()
    thread.join()
    assert done == ["done"]


@pytest.mark.parametrize("with_form", [False, True])
def test_a_client_that_has_gone_is_not_worked_for(predicting, with_form):
    app = predicting()
    asked = []

    def has_gone() -> bool:
        asked.append(1)
        return len(asked) > 2  # while the first is being decoded

    data = {"image": [(io.BytesIO(SCANS), "a.jpg") for _ in range(2)]} if with_form else SCANS
    answer = app.test_client().post(
        "/predict",
        data=data,
        content_type="multipart/form-data" if with_form else "image/jpeg",
        environ_overrides={"waitress.client_disconnected": has_gone},
    )
    assert answer.status_code == 400
    assert len(asked) == 3


def test_many_empty_images_in_a_tensor_are_refused_by_their_number(predicting):
    body = (
        b'{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":%d}}]}'
    )
    zeros = bytes(30_000_000)
    head = body % len(zeros)
    answer = (
        predicting()
        .test_client()
        .post(
            "/v2/models/Production_Reg/infer",
            data=head + zeros,
            headers={"Inference-Header-Content-Length": str(len(head))},
        )
    )
    assert (answer.status_code, answer.mimetype) == (422, "application/problem+json")
    assert "expected 1 to 64 images (serving.max_images), received more" in answer.json["detail"]
