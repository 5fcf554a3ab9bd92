"""A log reader with a lost network frees its place soon, although its connection is not closed."""

import ctypes
import socket
import struct
import sys
from http import HTTPStatus

import pytest
from waiting import wait_until

from defect_detection.serving import connections
from defect_detection.serving.services import MAX_STREAMS
from defect_detection.serving.views import jobs

SO_ATTACH_FILTER = 26
DROP_ALL = (6, 0, 0, 0)  # one instruction of the packet filter: return 0 bytes of each packet


def lose(connection: socket.socket) -> None:
    """Have the system drop every packet that comes for a connection, as when its machine has lost its power."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", *DROP_ALL))
    connection.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program))
    )


@pytest.mark.skipif(sys.platform != "linux", reason="drops packets by the filter of Linux")
def test_lost_readers_give_their_places_free(send, monkeypatch):
    monkeypatch.setattr(jobs, "STREAM_S", 1e6)
    monkeypatch.setattr(jobs, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(connections, "UNACKNOWLEDGED_S", 0.4)
    log = send("POST", "/retrain", Prefer="respond-async").headers["Location"] + "/log"
    readers = [socket.create_connection(("127.0.0.1", send.port)) for _ in range(MAX_STREAMS)]
    for reader in readers:
        reader.sendall(f"GET {log} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert reader.recv(1000).startswith(b"HTTP/1.1 200")
    assert send("GET", log).status == HTTPStatus.SERVICE_UNAVAILABLE
    for reader in readers:
        lose(reader)
    wait_until(lambda: send("HEAD", log).status == HTTPStatus.OK)
    for reader in readers:
        reader.close()
