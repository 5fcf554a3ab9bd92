"""The access rule of each route. A route without a rule needs the role admin, and a test fails.

Open is what a line needs, what load balancers ask, and the page without its data. All else needs a key, or is for this machine.
"""

from collections.abc import Collection
from typing import Any, Literal

from defect_detection.config.products import DEFAULT, NAME_PATTERN
from defect_detection.records.keys import Role

Need = Literal["open", "operator", "admin"]

NEEDS: dict[str, Need] = {
    # the page without its data, and the description of the API
    "GET /": "open",
    "GET /page/review": "open",
    "GET /page/inspections": "open",
    "GET /page/monitor": "open",
    "GET /page/models": "open",
    "GET /page/train": "open",
    "GET /page/retraining": "open",
    "GET /page/settings": "open",
    "GET /page/products": "open",
    "GET /page/data": "open",
    "GET /product/<product>/": "open",
    "GET /product/<product>/page/review": "open",
    "GET /product/<product>/page/inspections": "open",
    "GET /product/<product>/page/monitor": "open",
    "GET /product/<product>/page/models": "open",
    "GET /product/<product>/page/train": "open",
    "GET /product/<product>/page/retraining": "open",
    "GET /product/<product>/page/data": "open",
    "GET /product/<product>/page/settings": "open",
    "GET /static/<path:filename>": "open",
    "GET /docs": "open",
    "GET /docs/static/<path:filename>": "open",
    "GET /openapi.json": "open",
    "POST /access/page": "open",  # takes the code of a link as its key
    # inspection and health
    "POST /predict": "open",
    "GET /health/live": "open",
    "GET /health/ready": "open",
    "GET /health/records": "open",
    "GET /v2": "open",
    "GET /v2/health/live": "open",
    "GET /v2/health/ready": "open",
    "GET /v2/models/<name>": "open",
    "GET /v2/models/<name>/ready": "open",
    "POST /v2/models/<name>/infer": "open",
    "GET /v2/models/<name>/versions/<version>": "open",
    "GET /v2/models/<name>/versions/<version>/ready": "open",
    "POST /v2/models/<name>/versions/<version>/infer": "open",
    # records and decisions
    "GET /access": "operator",
    "GET /metrics": "operator",
    "GET /models": "operator",
    "GET /products": "operator",
    "GET /history": "operator",
    "GET /reports/<run_id>": "operator",
    "GET /statistics": "operator",
    "GET /statistics/types": "operator",
    "GET /monitoring": "operator",
    "GET /inspections": "operator",
    "GET /inspections.csv": "operator",
    "GET /inspections/<id>": "operator",
    "GET /inspections/<id>/image": "operator",
    "GET /inspections/<id>/preview": "operator",
    "GET /inspections/<id>/evidence": "operator",
    "POST /feedback": "operator",
    "GET /advice": "operator",
    "GET /training": "operator",
    "GET /settings": "operator",
    "GET /jobs": "operator",
    "GET /jobs/<id>": "operator",
    "GET /jobs/<id>/log": "operator",
    # images of a product
    "GET /data": "operator",
    "GET /data/images": "operator",
    "GET /data/thumbnail": "operator",
    "POST /data/images": "operator",
    "POST /data/label": "operator",
    "POST /data/part": "operator",
    "POST /data/move": "operator",
    "GET /data/parts": "operator",
    "POST /data/parts": "operator",
    "GET /data/findings": "operator",
    "GET /data/changes.csv": "operator",
    "POST /data/archives": "operator",
    "POST /data/archives/<id>": "operator",
    "POST /data/archives/<id>/unpack": "operator",
    "POST /data/bin/empty": "admin",
    "GET /data/split": "operator",
    "POST /data/split": "admin",
    "POST /products": "admin",
    # changes of production
    "POST /retrain": "admin",
    "POST /settings": "admin",
    "POST /jobs/<id>/cancel": "admin",
    "POST /models/<int:version>/promote": "admin",
    "POST /models/rollback": "admin",
}

# What `serving.public` can open to everybody. `models` shows thresholds, also in answers of POST /predict
GROUPS: dict[str, tuple[str, ...]] = {
    "metrics": ("GET /metrics",),
    "models": ("GET /models",),
    "statistics": ("GET /statistics", "GET /statistics/types"),
}


PARAMETER, HEADER = "product", "X-Product"
# Routes that are about one product and take its name as a query parameter
TAKES_PRODUCT = frozenset(
    {
        "POST /predict",
        "GET /health/ready",
        "GET /models",
        "GET /history",
        "GET /reports/<run_id>",
        "GET /statistics",
        "GET /statistics/types",
        "GET /monitoring",
        "GET /inspections",
        "GET /inspections.csv",
        "GET /advice",
        "GET /data",
        "GET /data/images",
        "GET /data/thumbnail",
        "POST /data/images",
        "POST /data/label",
        "POST /data/part",
        "POST /data/move",
        "GET /training",
        "GET /settings",
        "POST /settings",
        "GET /data/parts",
        "POST /data/parts",
        "GET /data/findings",
        "GET /data/changes.csv",
        "POST /data/archives",
        "POST /data/archives/<id>",
        "POST /data/archives/<id>/unpack",
        "POST /data/bin/empty",
        "GET /data/split",
        "POST /data/split",
        "GET /jobs",
        "POST /retrain",
        "POST /models/<int:version>/promote",
        "POST /models/rollback",
    }
)
DESCRIBED: dict[str, Any] = {
    "name": PARAMETER,
    "in": "query",
    "description": "name of the product; it may also be the header X-Product. The default product when not given",
    "schema": {"type": "string", "pattern": f"^({NAME_PATTERN})?$", "default": DEFAULT},
}


def takes_product(route: str) -> bool:
    """Say whether a route, such as ``GET /models``, takes the name of a product as a query parameter."""
    return route in TAKES_PRODUCT


def need_of(method: str, rule: str, opened: Collection[str] = ()) -> Role | None:
    """Return the role that a route needs; None: it is open, always or because it is in `opened`."""
    if method == "OPTIONS":  # answered by the framework, with the methods of the route
        return None
    route = f"{'GET' if method == 'HEAD' else method} {rule}"
    need = "open" if route in opened else NEEDS.get(route, "admin")
    return None if need == "open" else need
