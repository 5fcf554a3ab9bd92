"""Write HTTP requests whose headers and bodies cannot be meant, byte by byte: no client library would send them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

DIGITS = b"9" * 5000
WHO = ("Authorization", "X-API-Key", "Host", "Origin", "X-Forwarded-For", "Forwarded", "Cookie")
ABOUT = (
    "Last-Event-ID",
    "Accept",
    "Range",
    "If-None-Match",
    "If-Modified-Since",
    "Prefer",
    "Inference-Header-Content-Length",
)
VALUES = (
    b"9" * 8000,
    b"\xff\xfe\xed\xa0\x80",
    b"\x00\x01\x1b\x7f",
    b"a\r\n folded",
    b"a\nX-Line: b",
    b"-1",
    b"NaN;q=1e999",
    b"",
    b'",=;%00%ff',
    b"http://[::1",
    b"bytes=0-" + DIGITS,
    b"Thu, 99 Feb 99999 99:99:99 GMT",
)
JSON_VALUES = (
    *(
        b"[" * 900 + b"]" * 900,
        DIGITS,
        b"1e999",
        b"-1",
        b"NaN",
        b"Infinity",
        b"null",
        b"true",
        b"{}",
        b"[[]]",
    ),
    *(
        rb'"\ud800"',
        rb'"\u0000"',
        rb'"a\r\nb"',
        b'"%b"' % DIGITS,
        b'"9999-12-31T23:59:59-14:00"',
        b'"../../etc/passwd"',
    ),
)
KEYS = ("to", "reason", "inspection_id", "label", "defect_type", "comment", "inputs", "parameters", "unknown")
BODIES = (
    b"\xff\xfe\x00",
    b"[" * 8000 + b"]" * 8000,
    b'{"a":' * 3000 + b"1" + b"}" * 3000,
    b'{"a": %b}' % DIGITS,
    b"1e999",
    b"NaN",
    b"[]",
    b'"{}"',
    rb'{"\ud800": 1}',
    b'{"reason": "a", "reason": "b"}',
    '{"reason": "a"}'.encode("utf-16"),
    b"\xef\xbb\xbf[1]",
    b'{"reason": "a"',
    b"\x00" * 3000,
)
TYPES = (
    b"application/json",
    b"",
    b"text/plain",
    b"image/png; q=\x00",
    b"multipart/form-data",
    b"\xff/\xff",
    b"a/b; charset=none",
)
FORMS = (
    b"--b\r\n",
    b"--b--\r\n",
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n\x89PNG',
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n\x89PNG\r\n--b--\r\n',
    b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--b--\r\n',
    b'--b\r\nContent-Disposition: form-data; name="line"\r\n\r\na\x00b\r\n--b--\r\n',
    b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n",
    b"--b\r\n" + b"X: y\r\n" * 2000 + b"\r\nx\r\n--b--\r\n",
    b"--c\r\n\r\nx\r\n--c--\r\n",
)
BOUNDARIES = (b"b", b"", b"b" * 300, b'"b', b"\xff\x00", b"b; boundary=c")
LENGTHS = (
    b"-1",
    b"+3",
    b"1e3",
    b"0x3",
    b"3, 4",
    b"9" * 5000,
    b"\xb2",
    b"3\r\nContent-Length: 4",
    b"3\r\nTransfer-Encoding: chunked",
)
CHUNKS = (
    b"zz\r\nabc\r\n0\r\n\r\n",
    b"-3\r\nabc\r\n",
    b"3;" + b"a" * 9000 + b"\r\nabc\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\nabc",
    b"3\r\nabcdef",
)
LINES = (
    *(
        b"",
        b"\x00",
        b"GET",
        b"GET /",
        b"GET / HTTP/9.9",
        b"get / HTTP/1.1",
        b"G" * 9000 + b" / HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
    ),
    *(
        b"GET http://[ HTTP/1.1",
        b"GET http://\xff/ HTTP/1.1",
        b"GET * HTTP/1.1",
        b"CONNECT a:1 HTTP/1.1",
        b"TRACE / HTTP/1.1",
    ),
    *(
        b"GET /%ff%00?%zz=&;&&= HTTP/1.1",
        b"GET //predict HTTP/1.1",
        b"GET /../../etc/passwd HTTP/1.1",
        b"PRI * HTTP/2.0",
    ),
    *(
        b"GET /static/..%2f..%2fapp.py HTTP/1.1",
        b"GET /static/%00 HTTP/1.1",
        b"GET /docs/static/" + b"a" * 5000 + b" HTTP/1.1",
    ),
)


@dataclass(frozen=True)
class HostileRequest:
    """Bytes to send. changes: whether an answer that is no refusal would have changed something."""

    name: str
    content: bytes
    changes: bool


def hostile_requests(routes: Iterable[tuple[str, str]]) -> Iterator[HostileRequest]:
    """Yield requests to all routes, each a method and a path that exists. None of those that change something may be accepted."""
    for method, path in routes:
        kinds = _headers(method, path)
        if method not in ("GET", "HEAD"):
            kinds = (*kinds, *_bodies(method, path))
        for number, content in enumerate(kinds):
            yield HostileRequest(f"{method} {path} {number}", content, method not in ("GET", "HEAD"))
    for line in LINES:
        yield HostileRequest(
            repr(line[:60]), line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n", False
        )


def _headers(method: str, path: str) -> tuple[bytes, ...]:
    """Return requests with the same value in many headers, apart for those that make the caller another one, who gets no further."""
    body = b"" if method in ("GET", "HEAD") else b"[]"
    return tuple(
        written(method, path, body, dict.fromkeys(names, value), b"application/json")
        for names in (WHO, ABOUT)
        for value in VALUES
    )


def _bodies(method: str, path: str) -> Iterator[bytes]:
    for body in BODIES:
        yield written(method, path, body)
    for content_type in TYPES[1:]:
        for body in BODIES[:2]:
            yield written(method, path, body, {}, content_type)
    for number, value in enumerate(JSON_VALUES):
        key = KEYS[number % len(KEYS)]
        yield written(method, path, b'{"%b": %b, "name": %b}' % (key.encode(), value, value))
    for number, form in enumerate(FORMS):
        boundary = BOUNDARIES[number % len(BOUNDARIES)] if number % 2 else b"b"
        yield written(method, path, form, {}, b"multipart/form-data; boundary=" + boundary)
    for length in LENGTHS:
        yield written(method, path, b"[]", {"Content-Length": length})
    for chunks in CHUNKS:
        yield written(method, path, chunks, {"Transfer-Encoding": b"chunked"})


def written(
    method: str,
    path: str,
    body: bytes,
    headers: dict[str, bytes] | None = None,
    content_type: bytes = b"application/json",
) -> bytes:
    """Return a request as it goes over the line; what is in `headers` replaces what a client would send."""
    sent = {"Host": b"localhost", "Connection": b"close"}
    if body:
        sent["Content-Type"] = content_type
        if "Transfer-Encoding" not in (headers or {}):
            sent["Content-Length"] = b"%d" % len(body)
    lines = [f"{name}: ".encode() + value for name, value in (sent | (headers or {})).items()]
    return b"\r\n".join([f"{method} {path} HTTP/1.1".encode(), *lines, b"", body])
