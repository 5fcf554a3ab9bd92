"""The views of the records that are measured, by name: what a page or a caller asks of the database."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from benchmarks.filled import END, MODEL
from defect_detection.records.counts import Chosen, count_inspections
from defect_detection.records.database import Database
from defect_detection.records.jobs import count_jobs
from defect_detection.records.labelled_images import find_labelled
from defect_detection.records.overview import overview_of_products
from defect_detection.records.paging import Filter, find_page
from defect_detection.records.type_counts import count_types
from defect_detection.records.windows import Place, find_places, find_windows

View = Callable[[], object]
ODD = END - timedelta(minutes=7, seconds=3)  # no quarter hour ends then
DAY = {"since": END - timedelta(days=3), "until": END - timedelta(days=2)}
PLACE = {"line": "line 2", "station": "station 1"}
CHOSEN: dict[str, dict[str, Any]] = {
    "all": {},
    "line": {"line": "line 2"},
    "station": {"station": "station 1"},
    "line, station": PLACE,
    "model version": {"model_version": 3},
    "line, station, model version": PLACE | {"model_version": 3},
    "line, none": {"line": "line 9"},
}
LISTED = CHOSEN | {
    "verdict": {"verdict": "defective"},
    "verdict, none": {"verdict": "review"},
    "line, verdict": PLACE | {"verdict": "defective"},
    "line, verdict, none": PLACE | {"verdict": "review"},
    "line, model version, none": PLACE | {"model_version": 99},
    "station of another line, none": {"line": "line 2", "station": "station 9"},
    "model version, none": {"model_version": 99},
    "group": {"group": "lot 3"},
    "part": {"part": "part 7"},
    "label": {"label": "defective"},
    "line, label": {"line": "line 2", "label": "defective"},
    "labelled": {"labelled": True},
    "labelled on one day": {"labelled": True} | DAY,
    "defect type": {"defect_type": "scratch"},
    "defect type, none": {"defect_type": "hole"},
    "line, station, model version, verdict, type, one day": {
        **PLACE,
        **DAY,
        "model_version": 3,
        "verdict": "ok",
        "defect_type": "dent",
    },
    "line, verdict, one day": PLACE | DAY | {"verdict": "ok"},
    "search, none": {"search": "nowhere"},
    "search on one day, none": {"search": "nowhere"} | DAY,
    "search, line": {"search": "lot 7", "line": "line 2"},
}
ORDERS: dict[str, dict[str, Any]] = {
    "newest": {"order": "newest"},
    "least certain": {"order": "uncertain"},
    "least certain without label": {"order": "uncertain", "labelled": False},
    "most novel without label": {"order": "novel", "labelled": False},
}
SPANS = {
    "24 hours in 24 periods": (1, 24, END),
    "24 hours that begin at any second": (1, 24, ODD),
    "7 days in 28 periods": (7, 28, END),
    "30 days in 30 periods": (30, 30, END),
    "30 days in 200 periods from any second": (30, 200, ODD),
    "800 days in 200 periods": (800, 200, END),
}


def views_of(database: Database) -> dict[str, View]:
    """Return what has to answer quickly. The names are "kind: filter"."""
    return {
        **_statistics(database),
        **_lists(database),
        **_drift(database),
        "`/products`": partial(overview_of_products, database, END),
        "first 500 rows of `/inspections.csv`": partial(
            find_page, database, Filter(product="bolt"), None, 500
        ),
        "labelled images for an export": partial(find_labelled, database, "bolt"),
        "`/metrics`, jobs": partial(count_jobs, database),
    }


def _statistics(database: Database) -> dict[str, View]:
    views: dict[str, View] = {}
    for span, (days, periods, until) in SPANS.items():
        since = until - timedelta(days=days)
        bounds = [since + (until - since) * i / periods for i in range(periods)] + [until]
        views[f"`/statistics`, {span}: all products"] = partial(
            count_inspections, database, since, until, periods
        )
        for name, wanted in CHOSEN.items():
            chosen = Chosen("bolt", **wanted)
            views[f"`/statistics`, {span}: {name}"] = partial(
                count_inspections, database, since, until, periods, chosen
            )
            views[f"`/statistics/types`, {span}: {name}"] = partial(count_types, database, bounds, chosen)
    return views


def _lists(database: Database) -> dict[str, View]:
    return {
        f"`/inspections`, {order}: {name}": partial(
            find_page, database, Filter(**{"product": "bolt"} | wanted | of_order), None, 50
        )
        for order, of_order in ORDERS.items()
        for name, wanted in LISTED.items()
        if not ("labelled" in of_order and ("label" in name or "type" in name))
    }


def _drift(database: Database) -> dict[str, View]:
    windows = partial(
        find_windows, database, (MODEL, 3), END, size=500, count=3, apart=timedelta(hours=1), product="bolt"
    )
    places = partial(find_places, database, (MODEL, 3), END, size=500, product="bolt")
    return {
        "`/monitoring`, 3 windows of 500: all": windows,
        "`/monitoring`, 3 windows of 500: line, station": partial(windows, place=Place(**PLACE)),
        "`/monitoring`, which stations there are": places,
    }
