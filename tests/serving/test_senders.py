"""The sender is stored with each image, and a flood from a caller without a key does not remove the images of others."""

import base64
import io

import pytest
from PIL import Image
from tiny import DARK, encoded
from waiting import LIMIT_S, wait_until

from defect_detection.records.feedback import add_feedback
from defect_detection.records.keys import create_key
from defect_detection.records.room import bytes_taken
from defect_detection.serving.services import services_of

FLOODER = "192.0.2.66"


def image(number: int) -> bytes:
    """Return a picture of the tiny model's size with other bytes than any other number."""
    picture, buffer = Image.fromarray(DARK), io.BytesIO()
    picture.save(buffer, "BMP")
    return buffer.getvalue() + number.to_bytes(4) + bytes(1000)


def send(app, content: bytes, peer: str, key: str = "", **fields: str) -> str:
    headers = {"X-API-Key": key} if key else {}
    data = {"image": (io.BytesIO(content), "a.bmp"), **fields}
    answer = app.test_client().post(
        "/predict", data=data, headers=headers, environ_overrides={"REMOTE_ADDR": peer}
    )
    assert answer.status_code == 200, answer.text
    return answer.json["id"]


def shown(app, inspection_id: str) -> dict:
    key = create_key(services_of(app).records.database, inspection_id[:20], "operator")
    answer = app.test_client().get(f"/inspections/{inspection_id}", headers={"X-API-Key": key})
    assert answer.status_code == 200, answer.text
    return answer.json


def test_an_inspection_keeps_who_sent_it(app):
    key = create_key(services_of(app).records.database, "line 3", "operator")
    sent = {
        "line 3": send(app, image(1), "192.0.2.7", key),
        FLOODER: send(app, image(2), FLOODER),
        "192.0.2.9": send(app, image(3), "192.0.2.9", "no such key"),
        "2001:db8::7": send(app, image(4), "2001:db8::7"),
    }
    inputs = [
        {
            "name": "image",
            "datatype": "BYTES",
            "shape": [1],
            "data": [base64.b64encode(encoded(DARK)).decode()],
        }
    ]
    path = "/v2/models/Production_Reg/infer"
    app.test_client().post(path, json={"inputs": inputs}, environ_overrides={"REMOTE_ADDR": "192.0.2.8"})
    for name, inspection_id in sent.items():
        assert shown(app, inspection_id)["sent_by"] == name
    listed = app.test_client().get("/inspections.csv", headers={"X-API-Key": key}).text
    assert "192.0.2.8" in listed


def test_a_flood_of_a_caller_without_a_key_leaves_the_images_of_a_line_in_place(predicting):
    """Room for 40 images, 120 come from one address under changing lines; 20 of a line with a key and a labelled one stay."""
    room = 40 * len(image(0))
    app = predicting(f"records.keep_gb={room / 1e9}", "serving.rate_limit=null")
    records = services_of(app).records
    key = create_key(records.database, "line 3", "operator")
    genuine = [send(app, image(number), "192.0.2.7", key, line="3") for number in range(20)]
    labelled = send(app, image(20), "192.0.2.8")
    assert records.recorder.flush(LIMIT_S)
    add_feedback(records.database, labelled, "defective", "anna")
    for number in range(100, 220):
        send(app, image(number), FLOODER, line=str(number))
    send(app, image(0), FLOODER, group="lot of somebody else")  # again, as its own
    assert records.recorder.flush(LIMIT_S)
    wait_until(lambda: bytes_taken(records.database) <= room)
    client = app.test_client()
    for inspection_id in (*genuine, labelled):
        answer = client.get(f"/inspections/{inspection_id}/image", headers={"X-API-Key": key})
        assert answer.status_code == 200
    assert records.recorder.state().written == 142
    records.close()


@pytest.mark.parametrize("setting", ["records.anonymous_gb_per_h=0.000005"])
def test_beyond_its_quota_a_caller_gets_verdicts_and_is_counted(predicting, setting):
    app = predicting(setting)
    sent = [send(app, image(number), FLOODER) for number in range(8)]
    assert services_of(app).records.recorder.flush(LIMIT_S)
    kept = [shown(app, inspection_id)["image"] is not None for inspection_id in sent]
    assert kept == sorted(kept, reverse=True)
    refused = app.test_client().get("/health/records").json["images_refused"]
    assert refused == kept.count(False) > 0
    services_of(app).records.close()
