"""Answer unknown addresses with a suggestion, for programs and for people."""

import difflib
from http import HTTPStatus

from flask import Flask, Response, current_app, render_template, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from defect_detection.serving.problems import problem
from defect_detection.serving.views.pages import PAGES

NOT_SUGGESTED = ("/static/", "/docs/")


def refusal_of(app: Flask, method: str, path: str) -> HTTPException | None:
    """Return why no view answers a request, or None when one does."""
    try:
        known = "/\0" if path.startswith("//") else path  # the map of routes would take two slashes for one
        app.url_map.bind("localhost").match(known, method)
    except NotFound:
        return NotFound(f"No such address: {path[:200]!r}{_instead(app, path)}")
    except MethodNotAllowed as error:
        allowed = sorted(set(error.valid_methods or ()) - {"HEAD", "OPTIONS"})
        return MethodNotAllowed(allowed, f"{path} accepts {' and '.join(allowed)}, received {method[:20]}")
    return None


def register_unknown(app: Flask) -> None:
    """Answer unknown addresses: with a page for browsers, with problem JSON for programs."""
    app.url_map.merge_slashes = False  # `//predict` is no address, rather than a redirect that loses the body
    app.register_error_handler(NotFound, _of_not_found)
    app.register_error_handler(MethodNotAllowed, _of_not_allowed)


def _of_not_found(error: NotFound) -> Response:
    if request.routing_exception is None:  # a view raised Not Found
        return problem(HTTPStatus.NOT_FOUND, error.description or "")
    if _is_for_people():
        known = {"path": request.path[:200], "meant": meant(current_app, request.path)}
        shown = render_template("notfound.html.j2", pages=PAGES, current=None, title="No such page", **known)
        return Response(shown, HTTPStatus.NOT_FOUND, content_type="text/html; charset=utf-8")
    return problem(HTTPStatus.NOT_FOUND, _described(error))


def _of_not_allowed(error: MethodNotAllowed) -> Response:
    headers = {"Allow": ", ".join(error.valid_methods or ())}
    return problem(HTTPStatus.METHOD_NOT_ALLOWED, _described(error), headers)


def _described(error: HTTPException) -> str:
    refusal = refusal_of(current_app, request.method, request.path)
    return str(refusal.description if refusal else error.description)


def _is_for_people() -> bool:
    """Check whether a browser requests a page. Programs do not prefer text/html."""
    best = request.accept_mimetypes.best_match(["application/json", "text/html"], "application/json")
    return request.method in ("GET", "HEAD") and best == "text/html" and not request.path.startswith("/v2")


def meant(app: Flask, path: str) -> str | None:
    """Return the address that was probably meant: without extra parts, in lower case, or similarly spelled."""
    tidied = "/" + "/".join(filter(None, path.lower().split("/")))
    adapter = app.url_map.bind("localhost")
    if tidied != path and adapter.allowed_methods(tidied):
        return tidied
    rules = [rule.rule for rule in app.url_map.iter_rules() if not rule.arguments]
    known = [rule for rule in rules if rule != "/" and not rule.startswith(NOT_SUGGESTED)]
    close = difflib.get_close_matches(tidied, known, n=1)
    return close[0] if close else None


def _instead(app: Flask, path: str) -> str:
    found = meant(app, path)
    return f", did you mean {found}?" if found else "; /docs lists the addresses of the API, / is the page."
