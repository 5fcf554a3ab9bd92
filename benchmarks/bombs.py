"""Measure the cost of a request with a hostile file, and the delay of other callers."""

import threading
import time
import zlib
from http.client import HTTPConnection
from typing import Any

from PIL import Image

from benchmarks.hostile import chunk, encoded, hostile_files, jpeg_of_scans, png
from benchmarks.load import HOST, TIMEOUT_S, Target
from benchmarks.options import Options
from benchmarks.servers import Server
from benchmarks.serving import own_server, prepare
from benchmarks.tables import table

COLUMNS = (
    "file",
    "kB",
    "answer",
    "answered after, s",
    "processor time, s",
    "memory, MB",
    "slowest answer to another caller, ms",
)
LOOK_S = 0.01
BOUNDARY = "b9d1"


def measure(options: Options) -> dict[str, Any]:
    """Send each file alone, then once more beside a caller with ordinary images; return a row for each."""
    target, start = own_server(prepare(options))
    with start() as server:
        _send(target, "image/jpeg", _warm())  # starts the process that decodes
        rows = [_row(server, target, name, *body) for name, body in (_alone() | _in_form()).items()]
    return {"rows": rows}


def _warm() -> bytes:
    return encoded(Image.new("RGB", (64, 64)), "JPEG", progressive=True)


def _alone() -> dict[str, tuple[str, bytes]]:
    files = hostile_files() | {
        "JPEG of 1,500 scans": jpeg_of_scans(2000, 1500),
        "PNG with alpha of 16 bits": png(5000, coding=(16, 6)),
        "PNG of 60 packed texts": png(
            8, *[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000), 9))] * 60
        ),
    }
    return {"none: an ordinary JPEG": ("image/jpeg", encoded(Image.new("RGB", (256, 256)), "JPEG"))} | {
        name: ("application/octet-stream", content) for name, content in files.items()
    }


def _in_form() -> dict[str, tuple[str, bytes]]:
    part = png(2300, coding=(8, 6))
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'.encode()
    count = min(64, 990_000 // (len(part) + len(head)))
    content = b"".join(head + part + b"\r\n" for _ in range(count)) + f"--{BOUNDARY}--\r\n".encode()
    return {f"form of {count} PNGs with alpha": (f"multipart/form-data; boundary={BOUNDARY}", content)}


def _row(server: Server, target: Target, name: str, media_type: str, content: bytes) -> dict[str, Any]:
    before, spent = server.resident_bytes() or 0, server.cpu_s()
    with _Watch(lambda: server.resident_bytes() or 0, LOOK_S) as memory:
        started = time.perf_counter()
        status = _send(target, media_type, content)
        seconds = time.perf_counter() - started
    cpu_s = server.cpu_s() - spent
    with _Watch(lambda: _timed(target), 0.0) as others:
        time.sleep(0.1)
        _send(target, media_type, content)
        time.sleep(0.1)
    return {
        "name": name,
        "bytes": len(content),
        "status": status,
        "seconds": seconds,
        "cpu_s": cpu_s,
        "extra_bytes": max(0, max(memory.seen, default=before) - before),
        "delay_s": max(others.seen),
    }


class _Watch:
    """Calls a function over and over during its block, in a thread, and keeps what it returns."""

    def __init__(self, look: Any, every_s: float) -> None:
        self.seen: list[float] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(look, every_s))

    def _run(self, look: Any, every_s: float) -> None:
        while not self._end.wait(every_s):
            self.seen.append(look())

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join()


def _timed(target: Target) -> float:
    started = time.perf_counter()
    body = target.bodies[0]
    _send(target, body.media_type, body.numbered(time.perf_counter_ns() % 10**12))
    return time.perf_counter() - started


def _send(target: Target, media_type: str, content: bytes) -> int:
    connection = HTTPConnection(HOST, target.port, timeout=TIMEOUT_S)
    connection.request("POST", target.path, content, {"Content-Type": media_type})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def render(result: dict[str, Any]) -> str:
    """Return the table."""
    return table(COLUMNS, [_cells(row) for row in result["rows"]])


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["name"],
        f"{row['bytes'] / 1000:.0f}",
        str(row["status"]),
        f"{row['seconds']:.2f}",
        f"{row['cpu_s']:.2f}",
        f"{row['extra_bytes'] / 1e6:.0f}",
        f"{1000 * row['delay_s']:.0f}",
    ]
