"""Images from a page of another site are refused; those from programs and our own page are accepted."""

import io
from urllib.request import Request, urlopen

import pytest
from proxy import published
from tiny import DARK, encoded

from defect_detection.serving.services import services_of

INFER = "/v2/models/Production_Reg/infer"
FOREIGN = (
    "https://attacker.example",
    "null",
    "http://localhost:3000",
    "http://localhost",
    "http://localhost:5001.attacker.example",
)


def send(client, path: str, **headers: str):
    named = {name.replace("_", "-"): value for name, value in {"Host": "localhost:5001", **headers}.items()}
    if path == INFER:  # as a form of another page can send it
        return client.post(path, data='{"inputs": []}', headers=named, content_type="text/plain")
    return client.post(path, data={"image": (io.BytesIO(encoded(DARK)), "a.png")}, headers=named)


@pytest.mark.parametrize("path", ["/predict", INFER])
def test_a_page_of_another_origin_cannot_send_images(app, path):
    client = app.test_client()
    for origin in FOREIGN:
        answer = send(client, path, Origin=origin)
        assert (answer.status_code, answer.mimetype) == (403, "application/problem+json"), origin
        assert origin in answer.json["detail"]
    assert services_of(app).records.recorder.state().waiting == 0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://localhost:5001"},
        {"Origin": "HTTPS://LINE.example", "Host": "line.example"},
        {"Origin": "https://line.example", "Host": "127.0.0.1:5001", "X_Forwarded_Host": "line.example"},
        {"Origin": "https://line.example", "Host": "127.0.0.1:5001", "X_Requested_With": "defect-detection"},
        {"Origin": "https://line.example", "X_API_Key": "any"},
    ],
    ids=str,
)
def test_programs_and_the_own_page_send_images(app, headers):
    assert send(app.test_client(), "/predict", **headers).status_code == 200


def test_a_proxy_that_passes_the_host_on_needs_nothing_more(app, project, serving):
    served = serving(project.config(), app)
    with published(served.port, "/line") as url:
        origin = url.removesuffix("/line")
        for own, status in ((origin, 200), ("http://attacker.example", 403)):
            asked = Request(f"{url}/predict", encoded(DARK), {"Content-Type": "image/png", "Origin": own})
            try:
                with urlopen(asked) as answer:
                    assert answer.status == status
            except OSError as error:
                assert error.code == status
