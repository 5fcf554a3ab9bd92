"""Decide who may change something through the API.

A caller on this machine needs no key, so that ``curl -X POST http://localhost:5001/retrain`` works as it is.
The peer address alone doesn't prove that: a reverse proxy on this machine brings strangers from the loopback
address, and a web page in a local browser can send requests too, also under a host name that its owner points
to 127.0.0.1. So the address, the Host header and the Origin header must all be this machine's, and no header
may tell of a proxy; and where ``serving.behind_proxy`` declares one, being local counts for nothing. Everybody else sends a
key: that of the settings, which may do everything, or one that ``defect keys create`` made, which may do what its role may.
"""

import hmac
import re
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from flask import Request, current_app, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from defect_detection.config import Config
from defect_detection.errors import RecordsError
from defect_detection.records.database import Database
from defect_detection.records.keys import SETTINGS_KEY, THIS_MACHINE, Role, find_key, has_keys

KEY_VARIABLE = "DEFECT_API_KEY"

_LOCAL_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_PROXY_HEADERS = ("Forwarded", "Via", "X-Real-IP")


def configured_key(config: Config) -> str | None:
    """Return the key that callers must send; `load_config` has taken it from the environment or the file."""
    key = config.serving.api_key
    return key.get_secret_value() if key else None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: `name` is that of a key, `THIS_MACHINE`, or the address of who sends no key and has no role."""

    name: str
    role: Role | None


@dataclass(frozen=True, slots=True)
class Access:
    """What is asked of callers.

    key: of the settings, if there is one. database: holds the keys that were made besides.
    """

    key: str | None
    database: Database
    behind_proxy: bool = False

    def require(self, request: Request, role: Role) -> Caller:
        """Return who calls; refuse who neither is on this machine nor sends a key with that role.

        Raises:
            Forbidden: there are no keys at all, or the role of the one that was sent isn't enough.
            Unauthorized: there are keys, and the request carries none of them.
            RecordsError: a key was sent that only the database may know, which can't be reached.
        """
        reason = self._why_not_local(request)
        if reason is None:
            return Caller(THIS_MACHINE, "admin")
        caller = self._known(_sent_key(request))
        if caller is None:
            raise self._refusal(reason)
        if role == "admin" and caller.role != "admin":
            raise Forbidden(
                f"The key '{caller.name}' has the role operator, and this needs the role admin: make such a key with "
                "'defect keys create NAME --role admin'."
            )
        return caller

    def identify(self, request: Request) -> Caller:
        """Return who calls, as far as that is known, where everybody may. Raises nothing."""
        if self._why_not_local(request) is None:
            return Caller(THIS_MACHINE, "admin")
        with suppress(RecordsError):
            if known := self._known(_sent_key(request)):
                return known
        return Caller(request.remote_addr or "", None)

    def _why_not_local(self, request: Request) -> str | None:
        if self.behind_proxy:
            return "may have come through the proxy that serving.behind_proxy declares"
        return _why_not_local(request)

    def _known(self, sent: str) -> Caller | None:
        if self.key is not None and hmac.compare_digest(sent.encode(), self.key.encode()):
            return Caller(SETTINGS_KEY, "admin")
        found = find_key(self.database, sent) if sent else None
        return Caller(found.name, found.role) if found else None

    def _refusal(self, reason: str) -> Forbidden | Unauthorized:
        if self.key is None and not has_keys(self.database):
            return Forbidden(
                f"This request {reason}, and there is no key with which it could be allowed. Make one with "
                f"'defect keys create NAME', or set {KEY_VARIABLE} in the environment of the server (or serving.api_key "
                "in config.yaml) to a long random text and restart it; send it as 'Authorization: Bearer KEY' or "
                "'X-API-Key: KEY'."
            )
        return Unauthorized(
            f"This request {reason}, and doesn't carry a key of this server. Send it as 'Authorization: Bearer KEY' "
            "or 'X-API-Key: KEY'.",
            www_authenticate=WWWAuthenticate("bearer", {"realm": "defect-detection"}),
        )


def require_access(request: Request, role: Role) -> Caller:
    """Return who calls the application; see `Access.require`."""
    access: Access = current_app.extensions["access"]
    return access.require(request, role)


def caller() -> Caller:
    """Return who sent the current request, where everybody may send it."""
    access: Access = current_app.extensions["access"]
    return access.identify(request)


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
