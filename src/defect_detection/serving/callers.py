"""The caller of the current request, determined by `access` before the body is read."""

from flask import Flask, g, request

from defect_detection.serving.access import Caller
from defect_detection.serving.services import services

NO_ADDRESS = "0.0.0.0"  # noqa: S104  of a caller whom the server in front of the application did not tell


def register_access(app: Flask) -> None:
    """Check every request before its body is read; `routes` has the access rules."""
    app.before_request(_check)


def caller() -> Caller:
    """Return who sent the current request."""
    if "caller" not in g:
        g.caller = services().access.identify(request)
    found: Caller = g.caller
    return found


def sender() -> dict[str, str]:
    """Return who sent the current request, as it is recorded."""
    return {"sent_by": caller().name or NO_ADDRESS}


def shows(group: str) -> bool:
    """Check whether the current caller may see data of a group of ``serving.public``."""
    return services().access.shows(group, caller())


def _check() -> None:
    if request.url_rule is None:
        return
    access = services().access
    role = access.need(request.method, request.url_rule.rule)
    if role is not None:
        g.caller = access.require(request, role)
