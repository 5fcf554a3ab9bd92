"""The views of the web page. All data comes from the API, through the modules in ``static/``."""

from functools import partial
from http import HTTPStatus

from flask import Blueprint, redirect, render_template
from werkzeug.wrappers import Response

from defect_detection.config.products import DEFAULT
from defect_detection.serving.addresses import relative
from defect_detection.serving.services import services

# address → (template, title), in the order of the navigation
PAGES = {
    "/": ("inspect", "Inspect"),
    "/page/review": ("review", "Review"),
    "/page/inspections": ("inspections", "Inspections"),
    "/page/monitor": ("monitor", "Monitor"),
    "/page/data": ("data", "Data"),
    "/page/train": ("train", "Train"),
    "/page/models": ("models", "Models"),
    "/page/settings": ("settings", "Settings"),
}
EARLIER = {"/page/retraining": "page/train"}  # addresses of earlier versions, which bookmarks have
PRODUCTS = "/page/products"  # all products; the other pages are about one
OF_PRODUCT = "/product/<product>"  # begins the address of a page about a product that is not the default one

pages = Blueprint("pages", __name__)


def _show(path: str, product: str = DEFAULT) -> str:
    name, title = PAGES[path]
    return _rendered(name, title, path, product)


def _lead(path: str, product: str = DEFAULT) -> Response:
    return redirect(relative(f"{_below(product)}{path}"), HTTPStatus.PERMANENT_REDIRECT)


def _rendered(name: str, title: str, path: str, product: str) -> str:
    check = {"product": product, "below": _below(product)}
    facts = {"pages": PAGES, "current": path, "title": title, "defect_types": _known_types(product)}
    return render_template(f"{name}.html.j2", **check, **facts)


def _below(product: str) -> str:
    return "" if product == DEFAULT else f"product/{product}/"


def _known_types(product: str) -> tuple[str, ...]:
    """Return the types of defects that the model in production was trained on; none while it isn't loaded."""
    served = services().products.served().get(product)
    return tuple(served.loaded.inspector.card.defect_types) if served and served.loaded else ()


for _path, (_name, _title) in PAGES.items():
    pages.add_url_rule(_path, _name, partial(_show, _path))
    pages.add_url_rule(f"{OF_PRODUCT}{_path}", f"{_name}_of_product", partial(_show, _path))
for _path, _now in EARLIER.items():
    pages.add_url_rule(_path, f"earlier {_now}", partial(_lead, _now))
    pages.add_url_rule(f"{OF_PRODUCT}{_path}", f"earlier {_now} of product", partial(_lead, _now))
pages.add_url_rule(PRODUCTS, "products", partial(_rendered, "products", "Products", PRODUCTS, DEFAULT))
