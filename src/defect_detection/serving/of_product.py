"""The product of the current request: in a form field, the query parameter ``product`` or the header ``X-Product``.

The default product counts where none is named. A key that is bound to products is refused for others.
"""

from collections.abc import Sequence

from flask import Flask, g, request
from werkzeug.exceptions import Forbidden, NotFound, UnprocessableEntity

from defect_detection.config import Config
from defect_detection.config.products import DEFAULT
from defect_detection.errors import ConfigError, NoModelError
from defect_detection.serving.callers import caller, shows
from defect_detection.serving.predicting import Predicting
from defect_detection.serving.products import Project, UnknownProductError, listed
from defect_detection.serving.routes import HEADER, PARAMETER
from defect_detection.serving.services import services

_OF_ALL = ("/metrics",)  # show all products at once


def register_products(app: Flask) -> None:
    """Have the product of each request checked before its view is called."""
    app.before_request(_check)


def product_name() -> str:
    """Return the name of the current request's product, which may be archived: its records can be read.

    Raises:
        NotFound: there is no such product. Forbidden: the caller's key is bound to others.
        UnprocessableEntity: the request names two.
    """
    if "product" not in g:
        name = _named()
        g.product = allowed(name)
        if not services().products.has_records(name):
            raise _unknown(name)
    found: str = g.product
    return found


def project() -> Project:
    """Return the product of the current request, with its settings and its model.

    Raises:
        NotFound: there is no such product, or it is archived. NoModelError: its settings are wrong. Otherwise as `product_name`.
    """
    return project_of(product_name())


def project_of(name: str) -> Project:
    """Return a product that a record or the request names. Raises as `project`."""
    try:
        return services().products.get(allowed(name))
    except UnknownProductError:
        raise _unknown(name) from None
    except ConfigError as error:
        raise NoModelError(str(error)) from error


def predicting_for(name: str) -> Predicting:
    """Return what decodes images of a product; that of the default product for one that is archived."""
    return _found_or_default(name).predicting


def config_of(name: str) -> Config:
    """Return the settings of a product; those of the default product for one that is archived."""
    return _found_or_default(name).config


def _found_or_default(name: str) -> Project:
    try:
        return services().products.get(name)
    except (UnknownProductError, ConfigError):
        return services().products.default


def project_of_form() -> Project:
    """Return the product of the current request, whose form was read: it may name the product. Raises as `project`."""
    g.pop("product", None)
    return project()


def allowed(name: str) -> str:
    """Return the name of a product, unless the caller's key is bound to others.

    Raises:
        Forbidden: it is.
    """
    if not visible([name]):
        raise Forbidden(
            f"The key '{caller().name}' is bound to {listed(caller().products)}, but this request is about the product '{name}'. Name "
            f"another product ({PARAMETER}=NAME, or the header {HEADER}), or use another key."
        )
    return name


def visible(names: Sequence[str]) -> list[str]:
    """Return those of the products that the caller may know."""
    bound = caller().products
    return [name for name in names if not bound or name in bound]


def _check() -> None:
    if request.url_rule is None:
        return
    if request.url_rule.rule in _OF_ALL and caller().products:
        raise Forbidden(
            f"The key '{caller().name}' is bound to products, and this address is about all of them."
        )
    if is_named():
        product_name()


def is_named() -> bool:
    """Say whether the request names its product."""
    return bool(request.args.get(PARAMETER) or request.headers.get(HEADER))


def _named() -> str:
    """Return the name that the request gives. Its form counts once its images were taken: see `uploads.take_images`."""
    form = request.form.get(PARAMETER) if "form" in request.__dict__ else None
    given = {name for name in (form, request.args.get(PARAMETER), request.headers.get(HEADER)) if name}
    if len(given) > 1:
        raise UnprocessableEntity(f"{PARAMETER}: expected one name, received {listed(sorted(given))[:200]}")
    return given.pop() if given else DEFAULT


def _unknown(name: str) -> NotFound:
    products = services().products
    state = "is archived" if name in visible(products.archived()) and caller().role else "is unknown"
    known = visible(products.names()) if shows("models") else []
    names = f"; known: {listed(known)}" if known else ""
    return NotFound(f"The product {name[:80]!r} {state} here{names}.")
