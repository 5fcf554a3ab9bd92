"""The views of the web page. All data comes from the API, through the modules in ``static/``."""

from functools import partial

from flask import Blueprint, render_template

from defect_detection.serving.services import services

# address → (template, title), in the order of the navigation
PAGES = {
    "/": ("inspect", "Inspect"),
    "/page/review": ("review", "Review"),
    "/page/inspections": ("inspections", "Inspections"),
    "/page/monitor": ("monitor", "Monitor"),
    "/page/models": ("models", "Models"),
    "/page/retraining": ("retraining", "Retraining"),
}

pages = Blueprint("pages", __name__)


def _show(path: str) -> str:
    name, title = PAGES[path]
    return render_template(
        f"{name}.html.j2", pages=PAGES, current=path, title=title, defect_types=_known_types()
    )


def _known_types() -> tuple[str, ...]:
    """Return the types of defects that the model in production was trained on; none while it isn't loaded."""
    served = services().served
    return tuple(served.loaded.inspector.card.defect_types) if served.loaded else ()


for _path, (_name, _title) in PAGES.items():
    pages.add_url_rule(_path, _name, partial(_show, _path))
