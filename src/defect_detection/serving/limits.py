"""Limits for callers: bytes, simultaneous pixels, requests per second."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import Request, Response, request
from werkzeug.exceptions import RequestEntityTooLarge, ServiceUnavailable, TooManyRequests

from defect_detection.config import Config
from defect_detection.data.outline import PLAIN_PIXELS, Effort, Outline
from defect_detection.serving.peers import Proxies, address_of, is_loopback
from defect_detection.serving.routes import HEADER, PARAMETER

PLAIN_BODY_BYTES = 16 * 1024  # of requests that carry no images
PIXELS_AT_A_TIME = 12_000_000  # of plain images, decoded by all requests together
MOST_PEERS = 10_000  # remembered by the rate limit
FREE_OF_RATE = ("/health/", "/v2/health/", "/metrics")

HEADERS = {
    "Cache-Control": "no-store",  # files of the page have their own; a cache would answer with a key that was revoked
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),  # blob: data that the page fetched with its key
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def takes_images(path: str) -> bool:
    """Check whether a path accepts bodies as long as images."""
    if path.startswith("/data/archives/"):
        return not path.endswith("/unpack")
    return path in ("/predict", "/data/images") or (
        path.startswith("/v2/models/") and path.endswith("/infer")
    )


def limit_body(request: Request, config: Config) -> None:
    """Refuse a body that is too long for its path, before it is read; what has no length is cut off there.

    An unknown address gets its error, whatever the body.

    Raises:
        RequestEntityTooLarge: its length says so.
    """
    if request.routing_exception is not None:
        return
    limit = config.serving.max_upload_bytes if takes_images(request.path) else PLAIN_BODY_BYTES
    request.max_content_length = limit
    if (request.content_length or 0) > limit:
        raise too_long(request.path, limit, request.content_length)


def too_long(path: str, limit: int, received: int | None = None) -> RequestEntityTooLarge:
    """Return the error for a body that is too long, with the limit and its setting."""
    setting = " (serving.max_upload_bytes)" if takes_images(path) else ""
    of = f"has {received} bytes" if received is not None else "is too long"
    return RequestEntityTooLarge(f"The body {of}; at most {limit}{setting} are accepted here.")


def secure(response: Response) -> Response:
    """Add security headers, so browsers only display the response."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


class DecodingTurns:
    """Limits the pixels of all plain images that are decoded at the same time. Slow images have a separate limit.

    Args:
        waiting: simultaneous requests with slow images, running or waiting; so the
            server always has threads for plain ones.
    """

    def __init__(self, waiting: int) -> None:
        self._taken = 0
        self._turn = threading.Lock()  # first come, first served
        self._changed = threading.Condition()
        self._long = threading.BoundedSemaphore(waiting)

    @contextmanager
    def taking(self, outline: Outline, effort: Effort) -> Iterator[None]:
        """Wait until an image may be decoded, and hold its place during the block.

        Raises:
            ServiceUnavailable: too many requests with slow images.
        """
        if outline.is_quick(effort):
            with self._taking_pixels(min(outline.width * outline.height, PLAIN_PIXELS)):
                yield
            return
        if not self._long.acquire(blocking=False):
            raise ServiceUnavailable("Too many slow images are being decoded: try again.", retry_after=1)
        try:
            yield
        finally:
            self._long.release()

    @contextmanager
    def _taking_pixels(self, pixels: int) -> Iterator[None]:
        held = min(pixels, PIXELS_AT_A_TIME)
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._taken + held <= PIXELS_AT_A_TIME)
            self._taken += held
        try:
            yield
        finally:
            with self._changed:
                self._taken -= held
                self._changed.notify_all()


class RateLimit:
    """Lets each other machine send so many requests per second and product, and twice as many at once after a pause.

    A product that is named in a form counts as the default one: the limit comes before the body is read. What comes from this
    machine is not limited, unless it came through a proxy that ``serving.behind_proxy`` declares.
    """

    def __init__(
        self,
        per_second: float | None,
        proxies: Proxies,
        is_product: Callable[[str], bool] = lambda _name: False,
    ) -> None:
        self._rate = per_second
        self._is_product = is_product
        self._proxies = proxies
        self._lock = threading.Lock()
        self._tokens: dict[str, tuple[float, float]] = {}  # by peer: tokens left, and when that was

    def check(self) -> None:
        """Refuse the current request when its sender has sent too many.

        Raises:
            TooManyRequests: says after how many seconds to try again.
        """
        peer = address_of(request, self._proxies)
        if self._rate is None or not peer or is_loopback(peer) or request.path.startswith(FREE_OF_RATE):
            return
        if (wait_s := self.take(f"{peer} {self._product()}", time.monotonic())) > 0:
            raise TooManyRequests(
                f"{peer} sent more than {self._rate:g} requests per second (serving.rate_limit): wait and try again.",
                retry_after=math.ceil(wait_s),
            )

    def _product(self) -> str:
        """Return the product that the request names, if there is such a one: names that are made up share one limit."""
        name = request.args.get(PARAMETER) or request.headers.get(HEADER, "")
        return name if name and self._is_product(name) else ""

    def take(self, peer: str, now_s: float) -> float:
        """Count one request, and return 0, or how many seconds the peer has to wait."""
        assert self._rate is not None
        burst = max(1.0, 2 * self._rate)
        with self._lock:
            tokens, since = self._tokens.pop(peer, (burst, now_s))
            tokens = min(burst, tokens + (now_s - since) * self._rate)
            allowed = tokens >= 1
            self._tokens[peer] = (tokens - allowed, now_s)  # at the end: the first is the longest silent
            if len(self._tokens) > MOST_PEERS:
                del self._tokens[next(iter(self._tokens))]
        return 0.0 if allowed else (1 - tokens) / self._rate
