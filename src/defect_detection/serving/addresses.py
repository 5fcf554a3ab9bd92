"""Handle the path prefix of a reverse proxy, and write addresses that are valid behind it.

The page uses addresses relative to itself, so it works below any path, also where no proxy says which. Answers name absolute
paths: they begin with ``serving.root_path``, or with what a declared proxy sends as ``X-Forwarded-Prefix``.
"""

import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from flask import request
from werkzeug.utils import redirect
from werkzeug.wrappers import Response

from defect_detection.config import Config
from defect_detection.config.kinds import ROOT_PATH
from defect_detection.serving.peers import Proxies

PREFIX_HEADER = "HTTP_X_FORWARDED_PREFIX"


def without_root(path: str, root: str) -> str:
    """Return a request's path as the application knows it: proxies pass it on with the root path, or without."""
    if root and (path == root or path.startswith(f"{root}/")):
        return path.removeprefix(root) or "/"
    return path


class BelowRoot:
    """WSGI middleware: sets the root path and removes it from the path of the request."""

    def __init__(self, application: Callable[..., Iterable[bytes]], config: Config) -> None:
        self._application = application
        self._root = config.serving.root_path
        self._proxies = Proxies(config.serving.behind_proxy)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if self._root and environ.get("PATH_INFO") == self._root:
            return _with_slash(environ)(environ, start_response)
        environ["PATH_INFO"] = without_root(environ.get("PATH_INFO", ""), self._root)
        if root := self._announced(environ) or self._root:
            environ["SCRIPT_NAME"] = root
        return self._application(environ, start_response)

    def _announced(self, environ: dict[str, Any]) -> str:
        """Return the root path that a declared proxy announces. Invalid headers, or those of other senders, are ignored."""
        is_trusted = self._proxies.include(environ.get("REMOTE_ADDR", ""))
        prefix = environ.get(PREFIX_HEADER, "").rstrip("/") if is_trusted else ""
        return prefix if re.fullmatch(ROOT_PATH, prefix) else ""


def _with_slash(environ: dict[str, Any]) -> Response:
    """Send the reader of ``/defect`` to ``/defect/``: from there the relative addresses of the page lead below it."""
    asked = f"?{query}" if (query := environ.get("QUERY_STRING")) else ""
    return redirect(f"{environ['PATH_INFO'].rpartition('/')[2]}/{asked}", HTTPStatus.PERMANENT_REDIRECT)


def absolute(path: str) -> str:
    """Return the address of one of our paths, ``/jobs/7``, as the caller of the current request reaches it."""
    return f"{request.script_root}{path}"


def relative(path: str) -> str:
    """Return the address of one of our paths, ``static/page.css``, relative to the page of the current request."""
    return "../" * (request.path.count("/") - 1) + path or "./"
