"""Send requests to a server on this machine, from threads with a connection each that stays open."""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any

import numpy as np

HOST = "127.0.0.1"
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Body:
    """What a request sends. Between the parts, if there are several, goes a number that no other request has: no two images are
    the same file then, as in production, and a server that keeps images writes each.
    """

    media_type: str
    parts: tuple[bytes, ...]

    def numbered(self, number: int) -> bytes:
        return (b"%012d" % number).join(self.parts)


@dataclass
class Load:
    """What clients saw. Threads share it.

    latencies_ms: of requests that were answered with 200. error: the first of the others.
    """

    latencies_ms: list[float] = field(default_factory=list)
    errors: int = 0
    error: str = ""
    seconds: float = 0.0

    def note_error(self, error: str) -> None:
        self.errors += 1
        self.error = self.error or error

    def summary(self) -> dict[str, Any]:
        """Return requests/s, median and 99th percentile in ms (0 where nothing was answered), and errors."""
        median, p99 = np.percentile(self.latencies_ms or [0.0], [50, 99])
        rate = len(self.latencies_ms) / self.seconds
        figures = {"requests_per_s": rate, "median_ms": float(median), "p99_ms": float(p99)}
        return figures | {"requests": len(self.latencies_ms), "errors": self.errors, "error": self.error}


@dataclass(frozen=True)
class Target:
    """Where requests go, and what they carry: the bodies in turn. `numbers` gives each request its number."""

    port: int
    path: str
    bodies: Sequence[Body]
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def run(self, clients: int, seconds: float, stop: threading.Event | None = None) -> Load:
        """Send as much as so many clients can, each waiting for its answer, for some seconds or until `stop` is set."""
        load, started = Load(), time.perf_counter()
        until, stop = started + seconds, stop or threading.Event()
        threads = [threading.Thread(target=self._client, args=(load, until, stop)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        load.seconds = time.perf_counter() - started
        return load

    def ask(self, timeout_s: float = TIMEOUT_S) -> str | None:
        """Send one request; return None when it is answered with 200, else what came instead."""
        load, connection = Load(), HTTPConnection(HOST, self.port, timeout=timeout_s)
        self._send(connection, load)
        connection.close()
        return load.error or None

    def _client(self, load: Load, until: float, stop: threading.Event) -> None:
        connection = HTTPConnection(HOST, self.port, timeout=TIMEOUT_S)
        while time.perf_counter() < until and not stop.is_set():
            self._send(connection, load)
        connection.close()

    def _send(self, connection: HTTPConnection, load: Load) -> None:
        number = next(self.numbers)
        body = self.bodies[number % len(self.bodies)]
        content = body.numbered(number)
        started = time.perf_counter()
        try:
            connection.request("POST", self.path, content, {"Content-Type": body.media_type})
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, HTTPException) as error:
            connection.close()  # the next request opens it again
            load.note_error(f"{type(error).__name__}: {error}")
            return
        if answer.status != 200:
            load.note_error(f"{answer.status} {text[:200].decode(errors='replace')}")
            return
        load.latencies_ms.append((time.perf_counter() - started) * 1000)
