"""Limits: of bodies, images, pixels, time and requests, over a real server where it is the server that refuses."""

import io
import json
import re
import socket
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient
from tiny import DARK, encoded
from waiting import LIMIT_S

from defect_detection.serving.limits import RateLimit
from defect_detection.serving.peers import Proxies
from defect_detection.serving.uploads import MOST_NAME_CHARACTERS, safe_name

PROBLEM = "application/problem+json"


@pytest.fixture
def client(predicting) -> FlaskClient:
    return predicting("data.max_pixels=1000000").test_client()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, data: bytes, *before: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(before)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def tiff_with(tag: int, kind: int, count: int, value: int) -> bytes:
    return b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", tag, kind, count, value) + b"\0\0\0\0"


PNG, JPEG = encoded(DARK), encoded(DARK, "JPEG")
HOSTILE = {
    "nothing": (b"", 415),
    "text": (b"hello", 415),
    "a web page": (b"<html><script>alert(1)</script></html>", 415),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>", 415),
    "GIF": (encoded(DARK, "GIF"), 415),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3", 415),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file", 415),
    "zip": (b"PK\x03\x04" + b"\0" * 100, 415),
    "signature only, PNG": (b"\x89PNG\r\n\x1a\n", 422),
    "signature only, JPEG": (b"\xff\xd8\xff", 422),
    "signature only, BMP": (b"BM", 422),
    "signature only, TIFF": (b"II*\0", 422),
    "signature only, WebP": (b"RIFF\x10\0\0\0WEBP", 422),
    "cut PNG": (PNG[:60], 422),
    "cut JPEG": (JPEG[: len(JPEG) // 2], 422),
    "cut TIFF": (encoded(DARK, "TIFF")[:100], 422),
    "cut WebP": (encoded(DARK, "WEBP")[:30], 422),
    "cut BMP": (encoded(DARK, "BMP")[:100], 422),
    "a flipped byte in PNG": (PNG[:50] + bytes([PNG[50] ^ 255]) + PNG[51:], 422),
    "more pixels than allowed": (png_of(1001, 1000, b""), 413),
    "a bomb: 4 billion pixels in a header": (png_of(65_535, 65_535, b"\0" * 100), 413),
    "a bomb: sides near 2^31": (png_of(2**31 - 1, 2**31 - 1, b""), 413),
    "no pixels": (png_of(0, 0, b""), 422),
    "a bomb: little data that claims a whole image": (png_of(1000, 1000, b"\0"), 422),
    "a bomb in a text chunk": (
        png_of(8, 8, b"", chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 100_000_000))),
        422,
    ),
    "TIFF that points to itself": (b"II*\0\x08\0\0\0\0\0\x08\0\0\0", 422),
    "TIFF with a tag of 4 GB": (tiff_with(273, 4, 2**30, 8), 422),
    "TIFF whose directory lies beyond the end": (b"II*\0\xff\xff\xff\xff", 422),
}


def memory_mb() -> float:
    """Return the most memory that this process has had resident."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


@pytest.mark.parametrize(("content", "status"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_image_is_refused_with_its_status_and_little_memory(client, content, status):
    before = memory_mb()
    answer = client.post("/predict", data=content, content_type="image/png")
    assert (answer.status_code, answer.mimetype) == (status, PROBLEM), answer.text
    assert answer.json.keys() == {"type", "title", "status", "detail"}
    assert memory_mb() - before < 50


def test_all_of_them_in_one_request_leave_the_good_one_its_verdict(client):
    contents = [*(content for content, _ in HOSTILE.values()), PNG]
    results = client.post("/predict", data={"image": [(io.BytesIO(one), "a.png") for one in contents]}).json[
        "results"
    ]
    assert [one["error"]["status"] for one in results[:-1]] == [status for _, status in HOSTILE.values()]
    assert results[-1]["verdict"] == "defective"


def test_an_image_in_a_form_may_be_large(client):
    noise = np.random.default_rng(0).integers(0, 256, (900, 1000, 3), dtype=np.uint8)
    body = b'--B\r\nContent-Disposition: form-data; name="image"; filename="a.bmp"\r\n\r\n' + encoded(
        noise, "BMP"
    )
    body += b"\r\n--B--\r\n"
    answer = client.post("/predict", data=body, content_type="multipart/form-data; boundary=B")
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\part.png", "part.png"),
        ("/", ""),
        ("..", ""),
        ("gnp.\u202eexe", "gnp.exe"),
        ("x" * 5000, "x" * MOST_NAME_CHARACTERS),
        ("Prüfling 7.png", "Prüfling 7.png"),
    ],
)
def test_only_the_harmless_part_of_a_name_is_kept(name, shown):
    assert safe_name(name) == shown


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({}, "no field"),
        ({"group": "LOT7"}, "'group'"),
        ({"image": "a.png"}, "without a file name"),
    ],
)
def test_a_form_without_an_image_says_what_was_expected(client, fields, detail):
    answer = client.post("/predict", data=fields, content_type="multipart/form-data")
    assert answer.status_code == 400
    assert detail in answer.json["detail"]
    assert "-F image=@part.png" in answer.json["detail"]


def test_a_form_that_is_cut_off_is_refused(client):
    body = b'--B\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + PNG
    answer = client.post("/predict", data=body, content_type="multipart/form-data; boundary=B")
    assert answer.status_code == 400


def test_a_part_without_a_name_is_refused(client):
    body = b"--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--\r\n"
    answer = client.post("/predict", data=body, content_type="multipart/form-data; boundary=B")
    assert answer.status_code == 422
    assert answer.json["detail"].startswith("unknown form field ''")


@pytest.mark.parametrize("count", [4, 40])
def test_too_many_images_are_refused(predicting, count):
    client = predicting("serving.max_images=3").test_client()
    answer = client.post("/predict", data={"image": files(count)})
    assert answer.status_code == 413
    assert "serving.max_images" in answer.json["detail"]


def files(count: int):
    return [(io.BytesIO(PNG), "a.png") for _ in range(count)]


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/x-www-form-urlencoded"])
def test_a_body_of_another_type_is_refused(client, kind):
    answer = client.post("/predict", data=PNG, content_type=kind)
    assert answer.status_code == 415
    assert kind in answer.json["detail"]


def test_every_answer_keeps_browsers_from_misusing_it(client):
    for answer in (client.get("/health/live"), client.get("/nothing"), client.post("/predict")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "Access-Control-Allow-Origin" not in answer.headers


# -- what the server refuses before a view is asked -------------------------------------------------------------------


@pytest.fixture
def talk(predicting, project, serving):
    """A function that starts a server with settings and returns what `raw` describes."""

    def start(*overrides: str):
        return _exchange(serving(project.config(*overrides), predicting(*overrides)))

    return start


@pytest.fixture
def raw(talk):
    """A function that sends bytes over a connection and returns all that is answered until it is closed."""
    return talk("serving.max_upload_bytes=100000")


@pytest.fixture
def impatient(talk):
    """As `raw`, of a server that soon gives up a request that does not come."""
    return talk("serving.max_upload_bytes=100000", "serving.receive_timeout_s=1")


def _exchange(send):
    def exchange(data: bytes) -> tuple[int, dict, bytes]:
        with socket.create_connection(("127.0.0.1", send.port), timeout=LIMIT_S) as connection:
            connection.sendall(data)
            received = b""
            while more := connection.recv(65536):
                received += more
        head, _, body = received.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body), head

    exchange.send = send
    return exchange


def head(*lines: str, path: str = "/predict") -> bytes:
    return "\r\n".join(
        [f"POST {path} HTTP/1.1", "Host: localhost", "Connection: close", *lines, "", ""]
    ).encode()


def test_a_long_body_is_refused_by_its_announced_length_alone(raw):
    status, problem, _ = raw(head("Content-Type: image/png", "Content-Length: 5000000000"))
    assert (status, problem["status"]) == (413, 413)
    assert "serving.max_upload_bytes" in problem["detail"]


def test_a_long_body_is_not_asked_for(raw):
    status, _, answer = raw(
        head("Content-Type: image/png", "Content-Length: 5000000000", "Expect: 100-continue")
    )
    assert status == 413
    assert b"100 Continue" not in answer


def test_a_body_is_refused_where_no_images_are_taken(raw):
    status, problem, _ = raw(head("Content-Length: 50000", path="/retrain"))
    assert (status, problem["status"]) == (413, 413)
    assert "16384" in problem["detail"]


def test_a_body_without_length_is_read_only_up_to_the_limit(raw):
    chunks = b"".join(b"2710\r\n" + b"x" * 10_000 + b"\r\n" for _ in range(11))
    status, problem, _ = raw(head("Content-Type: image/png", "Transfer-Encoding: chunked") + chunks)
    assert (status, problem["status"]) == (413, 413)


def test_an_image_may_come_in_chunks(raw):
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(PNG), PNG)
    status, answer, _ = raw(head("Content-Type: image/png", "Transfer-Encoding: chunked") + body)
    assert (status, answer["verdict"]) == (200, "defective")


def test_a_huge_header_is_refused(raw):
    status, problem, _ = raw(head(f"X-Long: {'x' * 70_000}"))
    assert (status, problem["status"]) == (431, 431)


@pytest.mark.parametrize(
    "sent", [b"POST /pre", head("Content-Type: image/png", "Content-Length: 500") + PNG[:50]]
)
def test_a_client_that_stops_sending_is_answered_and_let_go(impatient, sent):
    status, problem, _ = impatient(sent)
    assert (status, problem["status"]) == (408, 408)
    assert "serving.receive_timeout_s" in problem["detail"]


def test_a_client_that_drips_is_answered_and_let_go(impatient):
    with socket.create_connection(("127.0.0.1", impatient.send.port), timeout=LIMIT_S) as connection:
        connection.sendall(head("Content-Type: image/png", "Content-Length: 90000"))
        stop = threading.Event()

        def drip() -> None:
            try:
                while not stop.wait(0.1):
                    connection.sendall(b"x")
            except OSError:
                pass  # the server has closed

        thread = threading.Thread(target=drip)
        thread.start()
        answer = connection.recv(65536)
        stop.set()
        thread.join()
    assert answer.startswith(b"HTTP/1.1 408")


def test_slow_clients_keep_nobody_waiting(raw):
    waiting = [socket.create_connection(("127.0.0.1", raw.send.port), timeout=LIMIT_S) for _ in range(50)]
    for connection in waiting:
        connection.sendall(head("Content-Type: image/png", "Content-Length: 500"))
    assert raw.send("POST", "/predict", PNG, **{"Content-Type": "image/png"}).status == 200
    for connection in waiting:
        connection.close()


@pytest.mark.parametrize(
    "line", ["Content-Length: 1, 1", "Content-Length: -1", "Transfer-Encoding: gzip", "No colon"]
)
def test_a_malformed_request_gets_a_problem(raw, line):
    status, problem, _ = raw(head(line))
    assert status in (400, 501)
    assert problem["status"] == status


# -- requests per second ----------------------------------------------------------------------------------------------


def test_a_peer_gets_its_burst_and_then_its_rate():
    limit = RateLimit(10, Proxies(False))
    assert [limit.take("a", 0.0) for _ in range(20)] == [0.0] * 20
    assert limit.take("a", 0.0) == pytest.approx(0.1)
    assert limit.take("b", 0.0) == 0.0
    assert limit.take("a", 0.1) == 0.0
    assert limit.take("a", 0.1) > 0


def test_a_million_peers_are_not_all_remembered():
    limit = RateLimit(10, Proxies(False))
    for number in range(20_000):
        limit.take(str(number), 0.0)
    assert len(limit._tokens) == 10_000


def test_too_many_requests_of_another_machine_are_refused(predicting):
    client = predicting("serving.rate_limit=1").test_client()
    answers = [client.get("/models", environ_overrides={"REMOTE_ADDR": "192.0.2.7"}) for _ in range(4)]
    assert [answer.status_code for answer in answers[2:]] == [429, 429]
    assert answers[-1].mimetype == PROBLEM
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert client.get("/health/live", environ_overrides={"REMOTE_ADDR": "192.0.2.7"}).status_code == 200


def test_this_machine_is_not_limited(predicting):
    client = predicting("serving.rate_limit=1").test_client()
    assert {client.get("/v2").status_code for _ in range(10)} == {200}
