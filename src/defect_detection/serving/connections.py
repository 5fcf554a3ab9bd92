"""One connection: read requests within limits, and answer invalid HTTP with problem JSON too."""

import copy
import re
import socket
import time
from contextlib import suppress
from http import HTTPStatus
from ipaddress import ip_network
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import Error
from werkzeug.exceptions import HTTPException

from defect_detection.serving.addresses import without_root
from defect_detection.serving.limits import HEADERS, PLAIN_BODY_BYTES, takes_images, too_long
from defect_detection.serving.problems import MEDIA_TYPE, problem_json
from defect_detection.serving.unknown import refusal_of

MAX_HEADER_BYTES = 64 * 1024
FIRST_BYTE_S = 5.0  # that a connection may stay silent after it was opened
UNACKNOWLEDGED_S = 8.0  # after which a client that is to be noticed when it is lost counts as gone
NOTICE_LOSS = "defect.notice_loss"  # in a request's environment: call it to have the client's loss noticed
LINGER_S = (
    2.0  # closing immediately while the client is sending would reset the connection and lose the response
)
MAY_BE_UNKNOWN = (HTTPStatus.NOT_FOUND, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
_HOST = re.compile(rb"^host:", re.IGNORECASE | re.MULTILINE)
_ENCODED = re.compile(rb"^transfer-encoding:", re.IGNORECASE | re.MULTILINE)
_LENGTH = re.compile(rb"^content-length:", re.IGNORECASE | re.MULTILINE)


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
        _refuse_ambiguous(header_plus)
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # a length of thousands of digits, or an address that is none
            raise ParsingError(f"The header is invalid: {str(error)[:100]}") from error
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


def _refuse_ambiguous(header: bytes) -> None:
    """Refuse requests that a proxy and this server could read differently (request smuggling)."""
    if len(_HOST.findall(header)) > 1:
        raise ParsingError("Host: expected once, received several times.")
    if _ENCODED.search(header) and (
        _LENGTH.search(header) or not header.split(b"\r\n")[0].endswith(b" HTTP/1.1")
    ):
        raise ParsingError("Transfer-Encoding: expected in HTTP/1.1 and without Content-Length.")


class _Task(WSGITask):
    """Answers a request; when the server is stopping, the last one of its connection."""

    def get_environment(self) -> dict[str, Any]:
        return dict(super().get_environment()) | {NOTICE_LOSS: self.channel.notice_loss}

    def build_response_header(self) -> bytes:
        if self.channel.server.is_stopping:
            self.request.headers["CONNECTION"] = (
                "close"  # tells the client to connect anew, to another server
            )
        return bytes(super().build_response_header())


class _ProblemTask(ErrorTask):
    """Answers a request that never reaches the application: malformed, too long or too slow."""

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
        """Return an error about the address, which takes precedence over the length of the body."""
        return refusal_of(self.channel.server.application, self.request.command, self._path)

    @property
    def _path(self) -> str:
        return getattr(self.request, "path_of_ours", "")

    def _detail(self, error: Error) -> str:
        limit = self.request.adj.max_request_body_size - 1
        if error.code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return str(too_long(self._path, limit, self.request.content_length or None).description)
        if error.code == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
            return f"The header is too long; at most {MAX_HEADER_BYTES} bytes are accepted."
        return str(error.body)


class Channel(HTTPChannel):
    """A connection. A request that has not arrived completely in time is refused, even if its bytes still arrive."""

    parser_class = _Parser
    task_class = _Task
    error_task_class = _ProblemTask
    request: Any
    will_close: bool
    close_when_flushed: bool
    lingers = False  # whether remaining data of the client is read and discarded before closing
    _lingers_until: float | None = None
    _is_watched = False  # whether a view asks, while it answers, whether the client has gone
    _begun: float | None = None  # when the first bytes of the request that is being received came

    def __init__(self, *args: Any, **options: Any) -> None:
        self._silent_until: float | None = time.monotonic() + FIRST_BYTE_S  # None: its first bytes came
        super().__init__(*args, **options)
        self.peer = _peer(self.addr[0])
        if reason := self.server.why_too_many(self.peer, self.addr[0]):
            self._refuse_at_once(HTTPStatus.SERVICE_UNAVAILABLE, reason)

    def is_idle(self, quiet_s: float) -> bool:
        """Check that no request is in progress, and none was in the last seconds."""
        is_busy = self.requests or self.request or self.total_outbufs_len or self.lingers
        return not is_busy and abs(time.time() - self.last_activity) > quiet_s

    def received(self, data: bytes) -> bool:
        self._silent_until = None
        if self.request is None:
            self._begun = time.monotonic()
        return bool(super().received(data))

    def check_client_disconnected(self) -> bool:
        """Check whether the client has closed the connection. Watching starts with the first call."""
        self._is_watched = True
        return bool(super().check_client_disconnected())

    def notice_loss(self) -> None:
        """Close the connection if sent data is not acknowledged, because the client or its network is gone."""
        option = getattr(socket, "TCP_USER_TIMEOUT", None)  # elsewhere than on Linux the system takes minutes
        if option is not None:
            with suppress(OSError):  # it has closed already
                self.socket.setsockopt(socket.IPPROTO_TCP, option, round(1000 * UNACKNOWLEDGED_S))

    def readable(self) -> bool:  # is asked at least once a second
        if self._lingers_until is not None:
            self.will_close = self.will_close or time.monotonic() > self._lingers_until
            return not self.will_close
        if self._silent_until is not None and time.monotonic() > self._silent_until:
            self.will_close = True
        timeout_s = self.server.receive_timeout_s
        if (
            self.request is not None
            and self._begun is not None
            and time.monotonic() - self._begun > timeout_s
        ):
            self._refuse(
                _TooSlowError(
                    f"The request did not arrive completely within {timeout_s:g} s (serving.receive_timeout_s)."
                )
            )
        if (
            self._is_watched and len(self.requests) == 1
        ):  # while a response is in progress, reading only detects that the client has closed
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

    def _refuse_at_once(self, status: int, detail: str) -> None:
        """Answer before the request and close, without using a thread."""
        body = problem_json(status, detail).encode()
        said = {"Connection": "close", "Content-Type": MEDIA_TYPE, "Content-Length": len(body), **HEADERS}
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        answer = (
            head + "".join(f"{name}: {value}\r\n" for name, value in said.items()) + "\r\n"
        ).encode() + body
        self.outbufs[-1].append(answer)
        self.total_outbufs_len += len(answer)
        self.lingers = self.close_when_flushed = True


def _peer(address: str) -> str:
    """Return what counts as one machine: an IPv4 address, or an IPv6 network."""
    return str(ip_network(f"{address.partition('%')[0]}/64", strict=False)) if ":" in address else address
