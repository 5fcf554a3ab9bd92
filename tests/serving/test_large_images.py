"""A model with tiles on a server: large images within the limits, refused early beyond them, and followed in the log."""

import logging

import numpy as np
import pytest
from tiny import SIDE, encoded, write_tiny_bundle
from werkzeug.exceptions import ClientDisconnected

from defect_detection.data.bounds import Allowance, Limits
from defect_detection.inference.inspect import Inspector
from defect_detection.serving import predicting as module

LARGE = np.full((4 * SIDE, 5 * SIDE, 3), 255, np.uint8)
LARGE[SIDE : 2 * SIDE, :SIDE] = 0


@pytest.fixture
def bundle(tmp_path):
    return write_tiny_bundle(tmp_path / "tiles", tiles=True)


def post(app, content):
    return app.test_client().post("/predict", data=content, content_type="image/png")


def test_an_image_within_the_limits_is_judged_by_its_tiles_which_the_log_follows(
    predicting, caplog, monkeypatch
):
    monkeypatch.setattr(module, "_SILENCE_S", 0)
    with caplog.at_level(logging.INFO):
        answer = post(predicting(), encoded(LARGE))
    assert answer.json["verdict"] == "defective"
    assert [one["box"] for one in answer.json["boxes"]] == [[0, SIDE, SIDE, SIDE]]
    lines = [text for text in caplog.messages if "tiles" in text]
    assert lines == [f"inspecting a large image: {done} of 20 tiles" for done in range(1, 21)]


@pytest.mark.parametrize(("limit", "most"), [("max_pixels", 4 * SIDE * SIDE), ("max_side", 2 * SIDE)])
def test_a_larger_image_is_refused_with_the_limit_before_it_is_decoded(predicting, limit, most):
    """Half of the file is missing, so decoding it would be another error."""
    content = encoded(np.random.default_rng(0).integers(0, 255, LARGE.shape, np.uint8))
    answer = post(predicting(f"data.{limit}={most}"), content[: len(content) // 2])
    assert (answer.status_code, answer.mimetype) == (413, "application/problem+json")
    assert f"data.{limit}" in answer.json["detail"] and "received 160 x 128" in answer.json["detail"]


def test_an_upload_beyond_the_limit_is_refused_with_the_limit(predicting):
    answer = post(predicting("serving.max_upload_bytes=1000"), bytes(2000))
    assert answer.status_code == 413
    assert "serving.max_upload_bytes" in answer.json["detail"]


def test_tiles_stop_when_the_sender_has_gone(bundle):
    asked = []

    def check():
        asked.append(1)
        if len(asked) > 40:
            raise ClientDisconnected

    content = encoded(LARGE)
    limits = Limits(allowance=Allowance(len(content), Limits(), check))
    follow = module._on_tile(limits)
    with pytest.raises(ClientDisconnected):
        for _ in range(10):
            Inspector.load(bundle).inspect_one(content, limits=limits, on_tile=follow)
