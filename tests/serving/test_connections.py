"""Connections: limits per machine, idle time, and ambiguous headers."""

import json
import socket

import pytest
from waiting import LIMIT_S

from defect_detection.serving import connections
from defect_detection.serving.server import MOST_OF_PEER

HEAD = "POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"


def connect(send) -> socket.socket:
    return socket.create_connection(("127.0.0.1", send.port), timeout=LIMIT_S)


def answer_on(client: socket.socket) -> tuple[int, str]:
    with client:
        received = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["detail"]


def test_a_machine_with_too_many_connections_is_told_so_and_the_others_are_answered(send):
    idle = [connect(send) for _ in range(MOST_OF_PEER)]
    status, detail = answer_on(connect(send))
    assert (status, str(MOST_OF_PEER) in detail, "127.0.0.1" in detail) == (503, True, True)
    idle[0].sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert idle[0].recv(100).startswith(b"HTTP/1.1 200")
    for client in idle:
        client.close()


def test_behind_a_declared_proxy_connections_of_this_machine_are_not_counted(predicting, serving, project):
    send = serving(project.config("serving.behind_proxy=true"), predicting("serving.behind_proxy=true"))
    idle = [connect(send) for _ in range(MOST_OF_PEER)]
    assert send("GET", "/health/live").status == 200
    for client in idle:
        client.close()


def test_a_connection_that_stays_silent_is_closed_soon(send, monkeypatch):
    monkeypatch.setattr(connections, "FIRST_BYTE_S", 0.1)
    with connect(send) as client:
        assert client.recv(1) == b""


@pytest.mark.parametrize(
    "lines",
    [
        "Host: other",
        "Host: localhost",
        "host: other",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding:\r\nContent-Length: 5",
        f"Content-Length: {'9' * 5000}",
    ],
)
def test_headers_that_can_be_read_in_two_ways_are_refused(send, lines):
    client = connect(send)
    client.sendall(f"{HEAD}{lines}\r\n\r\n0\r\n\r\n".encode())
    assert answer_on(client)[0] == 400


@pytest.mark.parametrize(
    "request_line", ["POST /predict HTTP/1.0\r\nTransfer-Encoding: chunked", "GET http://[ HTTP/1.1"]
)
def test_requests_that_can_not_be_read_are_refused(send, request_line):
    client = connect(send)
    client.sendall(f"{request_line}\r\n\r\n0\r\n\r\n".encode())
    assert answer_on(client)[0] == 400
