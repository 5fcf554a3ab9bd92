"""Listen, and answer what isn't even HTTP in the same shape as every other error."""

import socket

from flask import Flask
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer, create_server
from waitress.task import ErrorTask

from defect_detection.errors import ConfigError
from defect_detection.serving.problems import MEDIA_TYPE, problem_json

MAX_RECEIVED_BYTES = 1024 * 1024  # of a body; a longer one isn't even received
MAX_HEADER_BYTES = 64 * 1024
THREADS = 8  # one may wait for a retraining all night


def make_server(app: Flask, host: str, port: int) -> TcpWSGIServer:
    """Listen; `run()` of what is returned answers requests.

    Raises:
        ConfigError: the address can't be listened on.
    """
    server = create_server(
        app,
        sockets=[_listen(host, port)],
        threads=THREADS,
        max_request_body_size=MAX_RECEIVED_BYTES,
        max_request_header_size=MAX_HEADER_BYTES,
        clear_untrusted_proxy_headers=False,  # access.py must see that a request came through a proxy
        ident=None,
    )
    server.channel_class = _Channel
    return server


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(
            f"config.yaml: serving.host, serving.port: can't listen on {host}:{port} "
            f"({error.strerror or error}): stop the program that does, or choose another port"
        ) from error


class _ProblemTask(ErrorTask):
    """Answers a request that Waitress itself refuses: malformed, or too long."""

    def execute(self) -> None:
        error = self.request.error
        body = problem_json(error.code, error.body).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", MEDIA_TYPE))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):
    error_task_class = _ProblemTask
