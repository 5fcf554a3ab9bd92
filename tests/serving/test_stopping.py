"""Stopping a server with SIGTERM while clients wait for their verdicts."""

import json
import signal
import socket
import subprocess
import sys
import threading
from http.client import HTTPConnection

import pytest
from forked import python
from tiny import DARK, encoded
from waiting import LIMIT_S, wait_until

from benchmarks.ports import free_port
from defect_detection.records.inspections import find_inspection
from defect_detection.records.record_store import Records
from defect_detection.serving.server import keep_out

SERVE = """
import sys
from pathlib import Path
from defect_detection.config import load_config
from defect_detection.inference.inspect import Inspector
from defect_detection.serving.app import create_app, run
from defect_detection.tracking.reading import ModelRef
config = load_config(Path("config.yaml"), ["serving.host=127.0.0.1", f"serving.port={sys.argv[1]}", *sys.argv[3:]])
app = create_app(config, lambda: ModelRef("Production_Reg", 3, "run", {}), lambda _: Inspector.load(Path(sys.argv[2])))
run(app, config)
"""


AS_SOON_AS_IT_LISTENS = """
import os, signal, socket
from defect_detection.serving import app as served
listen = served.make_server

def make_server(*arguments):
    server = listen(*arguments)
    client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    client.sendall(b"GET /health/live HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nConnection: close\\r\\n\\r\\n")
    clients.append(client)
    os.kill(os.getpid(), signal.SIGTERM)
    return server

clients = []
served.make_server = make_server
run(app, config)
print(clients[0].recv(100).decode().partition("\\r")[0])
"""


@pytest.fixture
def server(project, bundle, request):
    """The process and its port; a parameter of the test is a setting."""
    port = free_port()
    command = [python(), "-c", SERVE, str(port), str(bundle), *getattr(request, "param", [])]
    with subprocess.Popen(command, cwd=project.root, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: process.poll() is not None or can_connect(port))
        yield process, port
        process.kill()


def can_connect(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_who_is_answered_is_recorded_and_nobody_is_reset(server, project):
    process, port = server
    image, answered, cut_off = encoded(DARK), [], []

    def post() -> None:
        while True:
            client = HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
            try:
                client.connect()
            except ConnectionRefusedError:
                return
            try:
                client.request("POST", "/predict", image, {"Content-Type": "image/png"})
                answer = client.getresponse()
                answered.append((answer.status, json.loads(answer.read())["id"]))
            except OSError as error:
                cut_off.append(error)
            client.close()

    threads = [threading.Thread(target=post) for _ in range(16)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(answered) > 100)
    process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert process.wait(LIMIT_S) == 0
    assert cut_off == []
    assert {status for status, _ in answered} == {200}
    records = Records.of(project.config())
    for _, inspection in answered:
        assert find_inspection(records.database, inspection)
    records.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot keep clients out of a listener")
def test_a_client_that_comes_too_late_is_kept_out_rather_than_reset():
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.socket() as early,
        socket.socket() as late,
    ):
        early.connect(listening.getsockname())
        assert keep_out(listening)
        late.settimeout(0.2)
        with pytest.raises(TimeoutError):
            late.connect(listening.getsockname())
        early.sendall(b"request")
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.recv(100) == b"request"
        listening.settimeout(0.1)
        with pytest.raises(TimeoutError):
            listening.accept()


def test_what_has_begun_is_answered_and_the_connection_is_then_closed(server, project):
    process, port = server
    project.script("import pathlib, time; pathlib.Path('started').touch(); time.sleep(3600)")
    image = encoded(DARK)
    length = f"Content-Type: image/png\r\nContent-Length: {len(image)}"
    predict = f"POST /predict HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n".encode() + image
    ready = b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n"
    waits, inspects, asks = (socket.create_connection(("127.0.0.1", port), LIMIT_S) for _ in range(3))
    waits.sendall(b"POST /retrain HTTP/1.1\r\nHost: localhost\r\n\r\n")
    wait_until((project.root / "started").exists)
    inspects.sendall(predict[:-10])
    asks.sendall(ready[:-2])
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: not can_connect(port))
    inspects.sendall(predict[-10:])
    asks.sendall(ready[-2:])
    for client, status, text in (
        (inspects, b"200", b'"verdict":"defective"'),
        (asks, b"503", b"is stopping"),
        (waits, b"500", b"the server was stopped"),
    ):
        answer = all_of(client)
        assert answer.startswith(b"HTTP/1.1 " + status), answer
        assert text in answer and b"Connection: close" in answer
    assert process.wait(LIMIT_S) == 0


@pytest.mark.parametrize("server", [["serving.drain_s=0.5"]], indirect=True)
def test_what_is_not_answered_in_time_is_cut_off(server):
    process, port = server
    client = socket.create_connection(("127.0.0.1", port), LIMIT_S)
    client.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = b""
    while not answer.endswith(b"}"):
        answer += client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200")
    client.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nbegun")
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_S) == 0
    assert all_of(client) == b""


def all_of(client: socket.socket) -> bytes:
    with client:
        return b"".join(iter(lambda: client.recv(65536), b""))


def test_a_server_that_is_stopped_as_soon_as_it_listens_answers_who_is_connected(project, bundle):
    code = SERVE.removesuffix("run(app, config)\n") + AS_SOON_AS_IT_LISTENS
    command = [python(), "-c", code, str(free_port()), str(bundle)]
    done = subprocess.run(command, check=False, cwd=project.root, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "HTTP/1.1 200 OK\n"), done.stderr
    assert "still running" not in done.stderr
