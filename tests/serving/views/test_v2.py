"""The Open Inference Protocol: what its clients send and expect, as JSON and with binary tensors."""

import base64
import json
import struct
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
from flask.testing import FlaskClient
from tiny import BRIGHT, DARK, SIDE, encoded
from werkzeug.exceptions import UnprocessableEntity

from defect_detection.serving import tensors
from defect_detection.serving.tensors import _numbers

INFER = "/v2/models/Production_Reg/infer"


@pytest.fixture
def client(predicting) -> FlaskClient:
    return predicting().test_client()


def bytes_input(*contents: bytes) -> dict:
    data = [base64.b64encode(content).decode() for content in contents]
    return {"name": "image", "datatype": "BYTES", "shape": [len(contents)], "data": data}


def test_server_and_model_describe_themselves(client):
    assert client.get("/v2").json["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2/health/live").json == {"live": True}
    assert client.get("/v2/health/ready").json == {"ready": True}
    described = client.get("/v2/models/Production_Reg").json
    assert (described["platform"], described["versions"]) == ("openvino", ["3"])
    assert described["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, SIDE, SIDE, 3]}]
    assert described == client.get("/v2/models/Production_Reg/versions/3").json
    for path in ("Production_Reg/ready", "Production_Reg/versions/3/ready"):
        assert client.get(f"/v2/models/{path}").json == {"name": "Production_Reg", "ready": True}


@pytest.mark.parametrize(
    "path", ["Other", "Production_Reg/versions/2", "Other/ready", "Production_Reg/versions/2/ready"]
)
def test_a_model_that_is_not_served_is_not_found(client, path):
    answer = client.get(f"/v2/models/{path}")
    assert answer.status_code == 404
    assert answer.json["error"] == answer.json["detail"]  # clients of the protocol read `error`
    assert "Production_Reg version 3" in answer.json["error"]


@pytest.mark.parametrize("path", [INFER, "/v2/models/Production_Reg/versions/3/infer"])
def test_encoded_images_are_inspected(client, path):
    answer = client.post(path, json={"id": "7", "inputs": [bytes_input(encoded(DARK), encoded(BRIGHT))]})
    assert answer.status_code == 200
    assert answer.json == {
        "model_name": "Production_Reg",
        "model_version": "3",
        "id": "7",
        "outputs": [
            {"name": "score", "datatype": "FP32", "shape": [2], "data": [1.0, 0.0]},
            {"name": "verdict", "datatype": "BYTES", "shape": [2], "data": ["defective", "ok"]},
        ],
    }


@pytest.mark.parametrize("nested", [True, False])
def test_decoded_images_are_inspected_and_explained(client, nested):
    images = np.stack([DARK, BRIGHT])
    data = images.tolist() if nested else images.ravel().tolist()
    tensor = {"name": "image", "datatype": "UINT8", "shape": list(images.shape), "data": data}
    outputs = client.post(INFER, json={"inputs": [tensor], "outputs": [{"name": "evidence"}]}).json["outputs"]
    assert [(one["name"], one["shape"]) for one in outputs] == [("evidence", [2, 4, 4])]
    assert outputs[0]["data"] == pytest.approx([0.5] * 16 + [-0.5] * 16)


def test_boxes_are_a_further_output(client):
    answer = client.post(
        INFER, json={"inputs": [bytes_input(encoded(DARK), encoded(BRIGHT))], "outputs": [{"name": "boxes"}]}
    )
    (found,) = answer.json["outputs"]
    assert (found["datatype"], found["shape"], found["data"][1]) == ("BYTES", [2], "[]")
    assert json.loads(found["data"][0]) == [{"box": [0, 0, SIDE, SIDE], "area_px": SIDE**2, "share": 1.0}]


def send_binary(client: FlaskClient, header: dict, binary: bytes, length: str | None = None):
    text = json.dumps(header).encode()
    return client.post(
        INFER, data=text + binary, headers={"Inference-Header-Content-Length": length or str(len(text))}
    )


@pytest.mark.parametrize("datatype", ["BYTES", "UINT8"])
def test_tensors_may_follow_the_json_as_binary_data(client, datatype):
    images = np.stack([DARK, BRIGHT])
    files = [encoded(DARK), encoded(BRIGHT)]
    binary = {
        "BYTES": b"".join(struct.pack("<I", len(one)) + one for one in files),
        "UINT8": images.tobytes(),
    }
    tensor = {
        "name": "image",
        "datatype": datatype,
        "shape": {"BYTES": [2], "UINT8": list(images.shape)}[datatype],
        "parameters": {"binary_data_size": len(binary[datatype])},
    }
    wanted = [{"name": "verdict", "parameters": {"binary_data": True}}, {"name": "score"}]
    answer = send_binary(client, {"inputs": [tensor], "outputs": wanted}, binary[datatype])
    length = int(answer.headers["Inference-Header-Content-Length"])
    verdict, score = json.loads(answer.data[:length])["outputs"]
    assert (verdict["parameters"], score["data"]) == ({"binary_data_size": 19}, [1.0, 0.0])
    assert answer.data[length:] == b"\x09\0\0\0defective\x02\0\0\0ok"


def test_all_outputs_may_be_asked_for_as_binary_data(client):
    asked = {"inputs": [bytes_input(encoded(DARK))], "outputs": [{"name": "score"}]}
    answer = client.post(INFER, json=asked | {"parameters": {"binary_data_output": True}})
    length = int(answer.headers["Inference-Header-Content-Length"])
    assert np.frombuffer(answer.data[length:], "<f4").tolist() == [1.0]


PIXELS = {"name": "image", "datatype": "UINT8", "shape": [1, SIDE, SIDE, 3]}
WRONG = {
    "no JSON": (b"{", 400),
    "endless nesting": (b"[" * 100_000, 400),
    "no inputs": ({"inputs": []}, 422),
    "another input": ({"inputs": [bytes_input() | {"name": "x"}]}, 422),
    "another output": ({"inputs": [bytes_input(encoded(DARK))], "outputs": [{"name": "x"}]}, 422),
    "not base64": ({"inputs": [bytes_input() | {"shape": [1], "data": ["?"]}]}, 422),
    "numbers instead of texts": ({"inputs": [bytes_input() | {"shape": [1], "data": [1]}]}, 422),
    "another number of images": ({"inputs": [bytes_input(encoded(DARK)) | {"shape": [2]}]}, 422),
    "too many images": ({"inputs": [bytes_input(*[b"x"] * 65)]}, 422),
    "no image": ({"inputs": [bytes_input(b"hello")]}, 415),
    "a cut image": ({"inputs": [bytes_input(encoded(DARK)[:60])]}, 422),
    "another size": ({"inputs": [PIXELS | {"shape": [1, 8, 8, 3], "data": [0] * 192}]}, 422),
    "too few values": ({"inputs": [PIXELS | {"data": [0] * 5}]}, 422),
    "rows of different lengths": ({"inputs": [PIXELS | {"data": [[0], [0, 1]]}]}, 422),
    "values above 255": ({"inputs": [PIXELS | {"data": [256] * SIDE * SIDE * 3}]}, 422),
    "fractions": ({"inputs": [PIXELS | {"data": [0.5] * SIDE * SIDE * 3}]}, 422),
    "neither data nor binary data": ({"inputs": [PIXELS]}, 422),
    "too much JSON": (b" " * 4_000_001, 413),
}


@pytest.mark.parametrize(("body", "status"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refused(client, body, status):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post(INFER, data=data, content_type="application/json")
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert answer.json["error"]


@pytest.mark.parametrize("length", ["ten", "-1", "99999999999999999999999", "٣"])
def test_a_wrong_length_of_the_json_is_refused(client, length):
    answer = send_binary(client, {"inputs": [PIXELS]}, b"", length.encode("utf-8").decode("latin-1"))
    assert answer.status_code == 400
    assert "Inference-Header-Content-Length" in answer.json["error"]


def test_binary_data_that_ends_within_an_image_is_refused(client):
    tensor = bytes_input() | {"shape": [1], "data": None, "parameters": {"binary_data_size": 6}}
    assert send_binary(client, {"inputs": [tensor]}, b"\xff\0\0\0ab").status_code == 422
    assert send_binary(client, {"inputs": [tensor]}, b"\xff\0\0\0a").status_code == 422


def test_large_json_is_read_for_one_request_at_a_time(client, monkeypatch):
    taken = []

    @contextmanager
    def turn():
        taken.append(1)
        yield

    monkeypatch.setattr(tensors, "_TURN", turn())
    for text, count in (("", 0), (" " * 300_000, 1)):
        body = {"id": "7", "parameters": {"text": text}, "inputs": [bytes_input(encoded(DARK))]}
        assert client.post(INFER, json=body).status_code == 200
        assert len(taken) == count


@pytest.mark.parametrize(
    "data", [["A" * 100_000, *[0] * 999], [[0] * 999, ["A" * 100_000]], [[[[[0]]]]], [0.5], [True], [10**30]]
)
def test_other_values_than_whole_numbers_are_refused_in_little_memory(data):
    tracemalloc.start()
    with pytest.raises(UnprocessableEntity, match="422"):
        _numbers(data)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
