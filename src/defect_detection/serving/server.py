"""Listen, and answer what isn't even HTTP in the same shape as every other error."""

import copy
import ctypes
import socket
import sys
import time
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from flask import Flask
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer, create_server
from waitress.task import ErrorTask
from waitress.utilities import Error
from werkzeug.exceptions import HTTPException

from defect_detection.config import Config
from defect_detection.errors import ConfigError
from defect_detection.serving.addresses import without_root
from defect_detection.serving.limits import HEADERS, PLAIN_BODY_BYTES, takes_images, too_long
from defect_detection.serving.problems import MEDIA_TYPE, problem_json
from defect_detection.serving.unknown import refusal_of

MAX_HEADER_BYTES = 64 * 1024
IN_MEMORY_BYTES = 256 * 1024  # of a body that is being received; the rest goes to a temporary file
RECEIVE_BYTES = 64 * 1024  # at a time: an image of a usual size in one
MOST_CONNECTIONS = 400
LARGE_BLOCK_BYTES = 1024 * 1024
_M_MMAP_THRESHOLD = -3  # of malloc.h
SWITCH_S = 0.001  # that a thread keeps the interpreter while others want it
MAY_BE_UNKNOWN = (HTTPStatus.NOT_FOUND, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
LINGER_S = 2.0  # closed at once, a connection on which the client is still sending would be reset, and the answer lost


def make_server(
    app: Flask, config: Config, host: str | None = None, port: int | None = None
) -> TcpWSGIServer:
    """Listen; `run()` of what is returned answers requests.

    Args:
        host, port: instead of those of the configuration; port 0 takes a free one.

    Raises:
        ConfigError: the address can't be listened on.
    """
    settings = config.serving
    server = create_server(
        app,
        sockets=[_listen(host or settings.host, settings.port if port is None else port)],
        threads=settings.threads,
        max_request_body_size=settings.max_upload_bytes + 1,  # Waitress takes only less than this
        max_request_header_size=MAX_HEADER_BYTES,
        recv_bytes=RECEIVE_BYTES,
        inbuf_overflow=IN_MEMORY_BYTES,
        connection_limit=MOST_CONNECTIONS,
        asyncore_use_poll=True,
        channel_timeout=max(
            1, round(settings.receive_timeout_s)
        ),  # of connections that are silent between requests
        clear_untrusted_proxy_headers=False,  # access.py must see that a request came through a proxy
        ident=None,
    )
    server.channel_class = _Channel
    server.adj.root_path = settings.root_path
    server.receive_timeout_s = settings.receive_timeout_s
    if (metrics := app.extensions.get("metrics")) is not None:
        waiting = server.task_dispatcher.queue
        metrics.follow("defect_queue", "Requests received that wait for a thread", lambda: len(waiting))
    return server


def take_turns() -> None:
    """Let threads take turns more often than every 5 ms: an image would wait so long for a thread that records others."""
    sys.setswitchinterval(SWITCH_S)


def return_memory() -> None:
    """Have the C library give large blocks back at once: it would keep those of decoded images, for each thread its own."""
    with suppress(AttributeError, OSError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise ConfigError(
            f"config.yaml: serving.host, serving.port: can't listen on {host}:{port} "
            f"({error.strerror or error}): stop the program that does, or choose another port"
        ) from error


class _TooSlowError(Error):
    code = 408
    reason = "Request Timeout"


class _UnknownAddressError(Error):
    code = 404
    reason = "Not Found"


class _Parser(HTTPRequestParser):
    """Knows by its path how long a request's body may be, as soon as its header is there."""

    adj: Any

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        self.path_of_ours = without_root(self.path, self.adj.root_path)
        if self.path.startswith("//"):  # the server would take slashes off before the application sees them
            self.error = _UnknownAddressError(self.path)
        if not takes_images(self.path_of_ours):
            self.adj = copy.copy(self.adj)
            self.adj.max_request_body_size = PLAIN_BODY_BYTES + 1

    def received(self, data: bytes) -> int:
        consumed = int(super().received(data))
        if self.error is not None:
            self.completed = True
            self.expect_continue = (
                False  # otherwise the client would be asked for the body that was just refused
            )
        return consumed


class _ProblemTask(ErrorTask):
    """Answers a request that is refused before it reaches the application: malformed, too long or too slow."""

    def execute(self) -> None:
        error = self.request.error
        status, detail, headers = error.code, self._detail(error), []
        if status in MAY_BE_UNKNOWN and (refusal := self._unknown()):
            status, detail = refusal.code or status, refusal.description or ""
            headers = [header for header in refusal.get_headers() if header[0] == "Allow"]
        body = problem_json(status, detail, self._path).encode()
        self.status = f"{status} {HTTPStatus(status).phrase}"
        self.response_headers += [("Content-Type", MEDIA_TYPE), *headers, *HEADERS.items()]
        self.set_close_on_finish()
        self.channel.lingers = True
        self.content_length = len(body)
        self.write(body)

    def _unknown(self) -> HTTPException | None:
        """Return what is wrong with the address itself: it counts for more than the length of a body."""
        return refusal_of(self.channel.server.application, self.request.command, self._path)

    @property
    def _path(self) -> str:
        return getattr(self.request, "path_of_ours", "")

    def _detail(self, error: Error) -> str:
        limit = self.request.adj.max_request_body_size - 1
        if error.code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return str(too_long(self._path, limit, self.request.content_length or None).description)
        if error.code == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
            return f"The header is too long; at most {MAX_HEADER_BYTES} bytes are taken."
        return str(error.body)


class _Channel(HTTPChannel):
    """A connection. A request that hasn't arrived whole in time is refused, however steadily its bytes drip in."""

    parser_class = _Parser
    error_task_class = _ProblemTask
    request: Any
    will_close: bool
    close_when_flushed: bool
    lingers = (
        False  # whether what the client still sends is read and thrown away before the connection is closed
    )
    _lingers_until: float | None = None
    _is_watched = False  # whether a view asks, while it answers, whether the client has gone
    _begun: float | None = None  # when the first bytes of the request that is being received came

    def received(self, data: bytes) -> bool:
        if self.request is None:
            self._begun = time.monotonic()
        return bool(super().received(data))

    def check_client_disconnected(self) -> bool:
        """Say whether the client has closed the connection. From the first question on that is watched for."""
        self._is_watched = True
        return bool(super().check_client_disconnected())

    def readable(self) -> bool:  # is asked at least once a second
        if self._lingers_until is not None:
            self.will_close = self.will_close or time.monotonic() > self._lingers_until
            return not self.will_close
        timeout_s = self.server.receive_timeout_s
        if (
            self.request is not None
            and self._begun is not None
            and time.monotonic() - self._begun > timeout_s
        ):
            self._refuse(
                _TooSlowError(
                    f"The request didn't arrive whole within {timeout_s:g} s (serving.receive_timeout_s)."
                )
            )
        if (
            self._is_watched and len(self.requests) == 1
        ):  # an answer is under way: what can be read is its end
            return not (self.will_close or self.close_when_flushed)
        return bool(super().readable())

    def handle_write(self) -> None:
        if not (self.lingers and self.close_when_flushed):
            super().handle_write()
            return
        self._flush_exception(self._flush_some)
        if not self.total_outbufs_len:
            self.close_when_flushed = False
            self._lingers_until = time.monotonic() + LINGER_S
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    def handle_read(self) -> None:
        if self._lingers_until is None:
            super().handle_read()
            return
        with suppress(OSError):
            self.recv(self.adj.recv_bytes)  # closes the connection where the client has

    def _refuse(self, error: Error) -> None:
        with self.requests_lock:
            request, self.request = self.request, None
            if request is None or self.requests:
                return
            request.error, request.completed = error, True
            self.requests.append(request)
        self.server.add_task(self)
