"""``/docs``: the interactive API reference (Swagger UI), with files from a package, so it works offline."""

from importlib.util import find_spec

from flask import Blueprint, Response, render_template

from defect_detection.serving.limits import HEADERS

POLICY = "Content-Security-Policy"


def _files() -> str:
    found = find_spec("flask_openapi3_swagger")
    assert found is not None and found.submodule_search_locations  # it is among the requirements
    return f"{next(iter(found.submodule_search_locations))}/templates/swagger"


reference = Blueprint("reference", __name__, static_folder=_files(), static_url_path="/docs/static")


@reference.get("/docs")
def docs() -> Response:
    headers = {POLICY: HEADERS[POLICY].replace("img-src 'self'", "img-src 'self' data:")}  # its icons
    return Response(render_template("docs.html.j2"), headers=headers)
