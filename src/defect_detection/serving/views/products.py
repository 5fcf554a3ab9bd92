"""Views of the products of the plant: all of them with their state and their figures; a new one."""

from http import HTTPStatus
from typing import Annotated, Literal

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from pydantic import BaseModel, Field
from werkzeug.exceptions import Conflict, UnprocessableEntity

from defect_detection.config.products import NAME_IN_WORDS, NAME_PATTERN
from defect_detection.errors import ConfigError, TrackingError, explain
from defect_detection.records.overview import Overview, overview_of_products
from defect_detection.serving.answer import as_json
from defect_detection.serving.callers import caller
from defect_detection.serving.of_product import allowed, visible
from defect_detection.serving.problems import described, for_caller, problem
from defect_detection.serving.products import Products
from defect_detection.serving.services import services
from defect_detection.serving.strict import Matching
from defect_detection.serving.views.models import MODELS
from defect_detection.tracking.registry import Registry
from defect_detection.use_cases.products import copy_product, create_product, settings_of_product

products_api = APIBlueprint("products", __name__)


class ProductShown(BaseModel):
    """A product."""

    name: str = Field(examples=["bolt"])
    state: Literal["serving", "ready", "no model", "failing", "archived"] = Field(
        description="serving: its model is in memory; ready: it loads on first use; failing: see problem"
    )
    version: int | None = Field(description="in production; null: none")
    problem: str | None = Field(description="why it cannot be served as promoted; null: no problem")
    inspected: int = Field(description="in the last 24 hours")
    defective: int = Field(description="in the last 24 hours")
    reject_rate: float | None = Field(description="defective / inspected; null without inspections")
    waiting: int = Field(description="inspections with the verdict review that nobody has labelled")


class ProductsShown(BaseModel):
    products: list[ProductShown] = Field(description="the default product first, archived products last")


ProductName = Annotated[str, Matching(f"^{NAME_PATTERN}$", NAME_IN_WORDS)]


class NewProduct(BaseModel, extra="forbid"):
    """A product that is to be created."""

    name: ProductName = Field(examples=["bolt"])
    settings_of: ProductName | None = Field(
        None,
        description="the product whose settings are copied; null: the default settings",
    )


class CreatedProduct(BaseModel):
    name: str


@products_api.get(
    "/products",
    summary="List the products with state, reject rate and the number of inspections that wait for review",
    tags=[MODELS],
    responses={200: ProductsShown, **{status: described(status) for status in (401, 403, 503)}},
)
def products() -> Response:
    known = services().products
    figures = overview_of_products(services().records.database)
    active, archived = visible(known.names()), visible(known.archived())
    shown = [_shown(known, name, figures.get(name, Overview())) for name in active]
    shown += [_product(name, figures.get(name, Overview()), "archived", None, None) for name in archived]
    return as_json(ProductsShown(products=shown))


@products_api.post(
    "/products",
    summary="Create a product, with the default settings or with those of another product",
    tags=[MODELS],
    responses={201: CreatedProduct, **{status: described(status) for status in (401, 403, 409, 422, 507)}},
)
def new_product(body: NewProduct) -> Response:
    parts, by = services(), caller().name
    name = allowed(body.name)
    taken = [*parts.products.names(), *parts.products.archived()]
    if any(one.casefold() == name.casefold() for one in taken):
        raise Conflict(f"name: expected a new name, received '{name}': there is such a product already")
    try:
        if body.settings_of is None:
            create_product(parts.config, name, by)
        else:
            copy_product(parts.config, allowed(body.settings_of), name, by)
    except ConfigError as error:
        raise UnprocessableEntity(str(error)) from error
    except OSError as error:
        return problem(HTTPStatus.INSUFFICIENT_STORAGE, f"{explain(error) or error}. Nothing was created.")
    return as_json(CreatedProduct(name=name), HTTPStatus.CREATED)


def _shown(known: Products, name: str, figures: Overview) -> ProductShown:
    served = known.served().get(name)
    champion, problem = (served.loaded, served.problem) if served else (None, None)
    version = champion.reference.version if champion else None
    try:
        config = settings_of_product(known.default.config, name)
        promoted = Registry(config.tracking_uri).glance(
            config.inference_model_name, config.inference_model_alias
        )
        version = version or (promoted.version if promoted else None)
    except (ConfigError, TrackingError) as error:
        problem = str(error)
    if champion is not None:
        return _product(name, figures, "failing" if problem else "serving", version, problem)
    state: Literal["no model", "failing", "ready"] = "no model" if version is None else "ready"
    if problem and version is not None:
        state = "failing"
    return _product(name, figures, state, version, problem)


def _product(
    name: str,
    figures: Overview,
    state: Literal["serving", "ready", "no model", "failing", "archived"],
    version: int | None,
    problem: str | None,
) -> ProductShown:
    return ProductShown(
        name=name,
        state=state,
        version=version,
        problem=problem and for_caller(problem),
        inspected=figures.inspected,
        defective=figures.defective,
        reject_rate=figures.reject_rate,
        waiting=figures.waiting,
    )
