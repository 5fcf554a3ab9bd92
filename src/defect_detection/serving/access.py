"""Decide who may change something through the API.

A caller on this machine needs no key, so that ``curl -X POST http://localhost:5001/retrain`` works as it is.
The peer address alone doesn't prove that: a reverse proxy on this machine brings strangers from the loopback
address, and a web page in a local browser can send requests too, also under a host name that its owner points
to 127.0.0.1. So the address, the Host header and the Origin header must all be this machine's, and no header
may tell of a proxy. Everybody else sends the key.
"""

import hmac
import os
import re
from ipaddress import IPv6Address, ip_address

from flask import Request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from defect_detection.config import Config

KEY_VARIABLE = "DEFECT_API_KEY"

_LOCAL_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_PROXY_HEADERS = ("Forwarded", "Via", "X-Real-IP")


def configured_key(config: Config) -> str | None:
    """Return the key that callers must send: the environment's, else that of ``serving.api_key``."""
    in_file = config.serving.api_key
    return os.environ.get(KEY_VARIABLE) or (in_file.get_secret_value() if in_file else None)


def require_access(request: Request, key: str | None) -> None:
    """Refuse a request that neither comes from this machine nor carries the key.

    Raises:
        Forbidden: no key is configured, so nobody but this machine may do it.
        Unauthorized: a key is configured, and the request carries none or another.
    """
    reason = _why_not_local(request)
    if reason is None:
        return
    if key is None:
        raise Forbidden(
            f"This request {reason}, and no key is set with which it could be allowed. Set {KEY_VARIABLE} in "
            "the environment of the server (or serving.api_key in config.yaml) to a long random text, "
            "restart it, and send that text as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."
        )
    if not hmac.compare_digest(_sent_key(request).encode(), key.encode()):
        raise Unauthorized(
            f"This request {reason}, and doesn't carry the key of this server. Send it as "
            "'Authorization: Bearer KEY' or 'X-API-Key: KEY'.",
            www_authenticate=WWWAuthenticate("bearer", {"realm": "defect-detection"}),
        )


def _sent_key(request: Request) -> str:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else request.headers.get("X-API-Key", "")


def _why_not_local(request: Request) -> str | None:
    """Say what shows that the request isn't from this machine, or return None when it is."""
    host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
    if not is_loopback(request.remote_addr or ""):
        return f"comes from {request.remote_addr}, not from this machine"
    if proxied := _proxy_header(request):
        return f"came through a proxy (header {proxied})"
    if not _LOCAL_HOST.fullmatch(host):
        return f"is addressed to {host!r}, not to localhost, 127.0.0.1 or [::1]"
    if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
        return f"was sent by a page of another origin ({origin})"
    return None


def is_loopback(peer: str) -> bool:
    """Say whether an address is this machine's own."""
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _proxy_header(request: Request) -> str | None:
    present = (name for name in request.headers.keys() if name.lower().startswith("x-forwarded-"))  # noqa: SIM118
    return next((name for name in _PROXY_HEADERS if name in request.headers), None) or next(present, None)
