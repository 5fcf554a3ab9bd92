"""The whole server as ``python api.py`` starts it: it follows the registry, runs jobs and answers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from flask_openapi3.openapi import OpenAPI
from waitress.server import TcpWSGIServer
from waitress.wasyncore import close_all

from defect_detection.config import Config
from defect_detection.serving.app import create_app
from defect_detection.serving.server import make_server
from defect_detection.serving.services import services_of


@contextmanager
def whole_server(config: Config) -> Iterator[tuple[OpenAPI, str]]:
    """Serve during the block; give the application and its address."""
    app = create_app(config)
    services_of(app).served.start()
    services_of(app).worker.start()
    server = make_server(app, config, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield app, f"http://127.0.0.1:{server.effective_port}"
    finally:
        services_of(app).worker.stop()
        services_of(app).products.stop()
        stop(server, thread)
        services_of(app).records.close()


def stop(server: TcpWSGIServer, thread: threading.Thread) -> None:
    """End a server that runs in a thread."""
    with suppress(OSError):  # woken by something else, it may have closed before this wakes it
        server.trigger.pull_trigger(lambda: close_all(server._map))
    thread.join()
    server.task_dispatcher.shutdown()
