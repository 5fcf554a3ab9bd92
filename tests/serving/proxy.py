"""A small reverse proxy that publishes a server below a path, as nginx does with ``location /line/ { proxy_pass …/; }``."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OF_ONE_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


@contextmanager
def published(port: int, path: str, *, strips: bool = True, announces: bool = False) -> Iterator[str]:
    """Publish what listens on a port of this machine below a path, and give the address there.

    Args:
        strips: whether the path is taken off before a request is passed on. announces: whether it is sent as X-Forwarded-Prefix.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(f"{path}/"):
                self.send_error(404, "not published")
                return
            connection = HTTPConnection("127.0.0.1", port, timeout=30)
            target = self.path.removeprefix(path) if strips else self.path
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in OF_ONE_HOP}
            if announces:
                headers["X-Forwarded-Prefix"] = path
            connection.request(self.command, target, self.rfile.read(length) or None, headers)
            answer = connection.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in OF_ONE_HOP:
                    self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError), closing(connection):  # a browser that leaves the page
                while part := answer.read1():
                    self.wfile.write(part)

        do_POST = do_GET  # noqa: N815  named by the library

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{path}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
