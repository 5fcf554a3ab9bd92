"""Draw each picture once in a process: many tests evaluate the same model, and drawing is half of an evaluation."""

import pickle
from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest

from defect_detection.report import figures, page


def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls this one once for the same content, or for the same figure."""
    kept: dict[tuple[object, ...], tuple[object, Any]] = {}  # with the arguments, so that no id is used again

    @wraps(function)
    def ask(*arguments: object) -> Any:
        key = tuple(id(one) if hasattr(one, "savefig") else pickle.dumps(one) for one in arguments)
        if key not in kept:
            kept[key] = arguments, function(*arguments)
        return kept[key][1]

    return ask


_CHARTS = ("confusion_matrix", "score_histogram", "roc", "reliability_diagram", "contact_sheet")
_REMEMBERED = [
    *((figures, name, remembered(getattr(figures, name))) for name in (*_CHARTS, "to_svg", "to_png")),
    (page, "cost_chart", remembered(page.cost_chart)),
]


@pytest.fixture(autouse=True)
def drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, function in _REMEMBERED:
        monkeypatch.setattr(module, name, function)
