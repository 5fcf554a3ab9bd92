"""Write refused requests, access to images and server starts to the audit trail."""

import hashlib

from flask import Flask, Response, request

from defect_detection.config import Config
from defect_detection.files.trail import leave
from defect_detection.serving.callers import caller
from defect_detection.serving.services import Services
from defect_detection.tracking.lease import who

IMAGES = (
    "/inspections/<id>/image",
    "/inspections/<id>/preview",
    "/inspections/<id>/evidence",
)
_SHOWN = {"serving", "records", "jobs"}


def register_trail(app: Flask, services: Services) -> None:
    """Record requests in the trail after their response."""
    refusals, root = services.refusals, services.config.root

    def note(response: Response) -> Response:
        status, rule = response.status_code, request.url_rule
        by = caller().name or "unknown"
        if status in (401, 403):
            refusals.note(by, f"{request.method} {request.path}", str(status))
        elif rule is not None and rule.rule in IMAGES and status < 400:
            leave(root, by, "image read", request.path, str(status))
        return response

    app.after_request(note)


def note_start(config: Config) -> None:
    """Leave a line with the settings of the server that are not the default ones; no secret is among them."""
    settings = hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:12]
    shown = config.model_dump_json(include=_SHOWN, exclude_defaults=True)
    leave(config.root, who(), "server started", shown, f"settings {settings}")
