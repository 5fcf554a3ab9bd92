"""Load the HTML templates of the report and of the audit, which share one frame and its filters."""

from functools import cache
from typing import TYPE_CHECKING

from defect_detection.evaluation.rates import percent

if TYPE_CHECKING:
    from jinja2 import Template


@cache
def template(name: str) -> "Template":
    """Return a template of this room by its file name. Each value that it shows is escaped, and a missing one is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("defect_detection.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"percent": percent, "about": about}
    return environment.get_template(name)


def about(count: float) -> str:
    """Round a number of parts for display: one decimal below 10, whole above."""
    if count >= 9.95:
        return f"{round(count):,}".replace(",", "\u202f")
    return f"{count:.1f}".removesuffix(".0") if count >= 0.1 or count == 0 else "under 0.1"
