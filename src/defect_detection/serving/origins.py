"""Refuse images that a browser sends on behalf of another site (CSRF), because `/predict` needs no key.

A page of another site can't send a key or the header ``X-Requested-With``: the browser would ask us first, and we never allow it. So
our own page sends that header, and works behind proxies that change the Host. Programs send no Origin.
"""

from flask import request
from werkzeug.exceptions import Forbidden

from defect_detection.serving.limits import takes_images

_HEADERS = ("X-Requested-With", "X-API-Key", "Authorization")
_OWN = ("Host", "X-Forwarded-Host")


def check_origin() -> None:
    """Refuse the current request if a page of another origin sends images with it.

    Raises:
        Forbidden: names the page, and what an allowed client sends.
    """
    origin = request.headers.get("Origin")
    if origin is None or not takes_images(request.path) or any(name in request.headers for name in _HEADERS):
        return
    hosts = {request.headers.get(name, "").lower() for name in _OWN} - {""}
    if origin.lower() not in {f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts}:
        raise Forbidden(
            f"This request was sent by a web page of another origin ({origin[:200]}). Send images from the page of this "
            "server, or from a program (which sends no Origin)."
        )
