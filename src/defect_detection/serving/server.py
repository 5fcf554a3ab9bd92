"""The HTTP server: limits connections per caller, and finishes open requests when it stops."""

import ctypes
import logging
import select
import socket
import struct
import sys
import time
from contextlib import suppress

from flask import Flask
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer
from waitress.wasyncore import close_all, dispatcher, loop

from defect_detection.config import Config
from defect_detection.errors import ConfigError
from defect_detection.serving.connections import MAX_HEADER_BYTES, Channel
from defect_detection.serving.peers import Proxies
from defect_detection.serving.services import KEY, services_of

IN_MEMORY_BYTES = 256 * 1024  # of a body that is being received; the rest goes to a temporary file
RECEIVE_BYTES = 64 * 1024  # at a time: an image of a usual size in one
MOST_CONNECTIONS = 400
MOST_OF_PEER = 100  # connections of one machine
CLEAN_UP_EVERY_S = 5  # connections that stay silent between two requests
THREADS_END_S = 1.0  # that those without a request take at most
LOOK_EVERY_S = 1.0  # after connections that are too slow
QUIET_S = 1.0  # without a request, after which a connection is closed then
LARGE_BLOCK_BYTES = 1024 * 1024
HANDSHAKE_MS = 50  # within which a client that has begun to connect has done so
_M_MMAP_THRESHOLD = -3  # of malloc.h
_SO_ATTACH_FILTER = 26  # of Linux's asm-generic/socket.h
_BPF_STEP = struct.Struct("HBBI")  # of linux/filter.h: what to do, how far to go if so and if not, with what
_DROP_SYN = b"".join(  # the TCP header's flags are in byte 13, and SYN is the bit 2 of them
    _BPF_STEP.pack(*step)
    for step in ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 2**18))
)
SWITCH_S = 0.001  # that a thread keeps the interpreter while others want it

log = logging.getLogger(__name__)


def make_server(app: Flask, config: Config, host: str | None = None, port: int | None = None) -> "Server":
    """Listen; `run()` of the returned server answers requests.

    Args:
        host, port: instead of those of the configuration; port 0 takes a free one.

    Raises:
        ConfigError: the address can't be listened on.
    """
    settings = config.serving
    server = Server(app, config, _listen(host or settings.host, settings.port if port is None else port))
    if KEY in app.extensions:
        waiting = server.task_dispatcher.queue
        services_of(app).metrics.follow("defect_queue", "Requests waiting for a thread", lambda: len(waiting))
    return server


class Server(TcpWSGIServer):
    """Accepts connections and answers their requests until it is stopped."""

    channel_class = Channel

    def __init__(self, app: Flask, config: Config, listening: socket.socket) -> None:
        settings = config.serving
        self.receive_timeout_s = settings.receive_timeout_s
        self._drain_s = settings.drain_s
        self._proxies = Proxies(settings.behind_proxy)
        self._stopped_at: float | None = None
        adjustments = Adjustments(
            sockets=[listening],
            threads=settings.threads,
            max_request_body_size=settings.max_upload_bytes + 1,  # Waitress takes only less than this
            max_request_header_size=MAX_HEADER_BYTES,
            recv_bytes=RECEIVE_BYTES,
            inbuf_overflow=IN_MEMORY_BYTES,
            connection_limit=2 * MOST_CONNECTIONS,  # from there on Waitress lets callers wait without a word
            asyncore_use_poll=True,
            channel_timeout=max(1, round(settings.receive_timeout_s)),  # of silence between two requests
            cleanup_interval=CLEAN_UP_EVERY_S,
            clear_untrusted_proxy_headers=False,  # access.py must see that a request came through a proxy
            ident=None,
        )
        adjustments.root_path = settings.root_path
        address = (listening.family, listening.type, listening.proto, listening.getsockname())
        super().__init__(app, _sock=listening, adj=adjustments, bind_socket=False, sockinfo=address)

    @property
    def is_stopping(self) -> bool:
        return self._stopped_at is not None

    def stop(self) -> None:
        """Accept no further connections, and let `run` return after the open requests are answered.

        A signal handler or another thread may call it.
        """
        self._stopped_at = self._stopped_at or time.monotonic()
        self.pull_trigger()

    def run(self) -> None:
        """Answer requests until the server is stopped."""
        while self._map and not self._has_ended():
            loop(LOOK_EVERY_S, use_poll=True, map=self._map, count=1)
        self.task_dispatcher.shutdown(timeout=THREADS_END_S)
        close_all(self._map)

    def _has_ended(self) -> bool:
        if self._stopped_at is None:
            return False
        if self.accepting:
            self._stop_listening()
        open_ones = list(self.active_channels.values())
        for channel in open_ones:
            channel.will_close = channel.will_close or channel.is_idle(QUIET_S)
        is_late = time.monotonic() - self._stopped_at > self._drain_s
        if is_late and open_ones:
            log.warning(
                "%d connections were closed without a response after %g s (serving.drain_s)",
                len(open_ones),
                self._drain_s,
            )
        return is_late or not open_ones

    def _stop_listening(self) -> None:
        """Close the listener, and answer clients that are already connected, which the system would otherwise reset."""
        waiting = select.poll()
        waiting.register(self.socket, select.POLLIN)
        patience_ms = HANDSHAKE_MS if keep_out(self.socket) else 0
        while waiting.poll(patience_ms):
            self.handle_accept()
        dispatcher.close(self)  # keeps the wake-up pipe of the loop open
        self.accepting = False

    def why_too_many(self, peer: str, address: str) -> str | None:
        """Return why a further connection of a peer is refused, or None. Refused connections are not counted."""
        peers = [channel.peer for channel in self.active_channels.values() if not channel.lingers]
        if len(peers) > MOST_CONNECTIONS:
            return f"{MOST_CONNECTIONS} connections are already open: close unused ones, or try again later."
        if not self._proxies.include(address) and peers.count(peer) > MOST_OF_PEER:
            return (
                f"{MOST_OF_PEER} connections from {peer} are already open: reuse or close them. If this "
                "is a reverse proxy, declare it in serving.behind_proxy."
            )
        return None


def keep_out(listening: socket.socket) -> bool:
    """Let no client begin to connect from now on, though those that have begun come through. Only Linux can do it.

    A client that connects between the last one that is accepted and the end of the listener would be reset. A kept-out
    one tries again after a second, by itself, and is then refused: a proxy takes another server.

    Returns:
        Whether the system does it.
    """
    if sys.platform != "linux":
        return False
    steps = (ctypes.c_char * len(_DROP_SYN)).from_buffer_copy(_DROP_SYN)
    program = struct.pack("HP", len(_DROP_SYN) // _BPF_STEP.size, ctypes.addressof(steps))
    try:
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError:
        return False
    return True


def take_turns() -> None:
    """Switch threads more often than every 5 ms, because an image would wait that long for the recording thread."""
    sys.setswitchinterval(SWITCH_S)


def return_memory() -> None:
    """Make the C library release large blocks immediately; otherwise each thread would keep those of decoded images."""
    with suppress(AttributeError, OSError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise ConfigError(
            f"config.yaml: serving.host, serving.port: cannot listen on {host}:{port} ({error.strerror or error}): stop the "
            "program that uses this port, or choose another port"
        ) from error
