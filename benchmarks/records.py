"""Measure each view of the records at 10,000 to 1,000,000 inspections, on SQLite and PostgreSQL."""

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median
from typing import Any

from benchmarks import datasets
from benchmarks.options import Options
from benchmarks.tables import table
from defect_detection.errors import RecordsError
from defect_detection.records.counts import Chosen, count_inspections
from defect_detection.records.database import Database
from defect_detection.records.feedback import add_feedback
from defect_detection.records.image_store import ImageFolder
from defect_detection.records.inspections import Filter, Inspected, add_inspections, find_page
from defect_detection.records.jobs import count_jobs
from defect_detection.records.labelled_images import find_labelled
from defect_detection.records.overview import overview_of_products
from defect_detection.records.retention import prune
from defect_detection.records.tallies import count_again
from defect_detection.records.windows import find_windows
from defect_detection.records.writer import BATCH

DAYS = 30  # of inspections, equally often by day and by night
LABELS = 500
AT_A_TIME = 5_000  # are inserted to fill a database
END = datetime(2026, 11, 1, tzinfo=UTC)
REPETITIONS = 3
PRODUCTS = (*["bolt"] * 8, "nut", "default")  # eight of ten inspections are about bolts
LIMIT_MS = 300  # of a view
View = Callable[[], object]


def measure(options: Options) -> dict[str, Any]:
    """Fill a database of each kind to each size in turn, and time each view."""
    folder = datasets.empty(options.work / "records")
    urls = {"SQLite": f"sqlite:///{folder}/inspections.db"}
    if options.postgres:
        urls["PostgreSQL"] = options.postgres
    rows = [
        {"database": kind, "size": size, "ms": milliseconds}
        for kind, url in urls.items()
        for size, milliseconds in _at_sizes(Database(url), ImageFolder(folder / "images"), options.rows)
    ]
    return {"rows": rows}


def _at_sizes(
    database: Database, images: ImageFolder, sizes: tuple[int, ...]
) -> Iterator[tuple[int, dict[str, float | None]]]:
    held = 0
    for size in sorted(sizes):
        for first in range(held, size, AT_A_TIME):
            _insert(database, first, min(AT_A_TIME, size - first))
        if not held:
            for number in range(0, LABELS):
                _label(database, number)
        held = size
        views = _views(database, images) | {"insert 64 inspections": _inserting(database)}
        yield size, {name: _timed(view) for name, view in views.items()}
    database.close()


def _label(database: Database, number: int) -> None:
    if number % 2:
        add_feedback(database, _id_of(number), "ok", "benchmark")
    else:
        add_feedback(database, _id_of(number), "defective", "benchmark", ("scratch", "dent")[number % 4 // 2])


def _insert(database: Database, first: int, count: int) -> None:
    with database.writing() as session:
        add_inspections(session, [_inspected(first + i) for i in range(count)], [])


def _inspected(number: int) -> Inspected:
    dice = random.Random(number)
    score = dice.betavariate(0.3, 3)
    return Inspected(
        id=_id_of(number),
        sha256=hashlib.sha256(str(number).encode()).hexdigest(),
        name=f"{number}.png",
        verdict="defective" if score >= 0.5 else "ok",
        score=score,
        threshold=0.5,
        model_name="Production_Reg",
        model_version=3 + number % 2,
        latency_ms=dice.lognormvariate(2, 0.5),
        line=f"line {number % 4}",
        station=f"station {number % 3}",
        product=PRODUCTS[number % len(PRODUCTS)],
        group=f"lot {number // 500}",
        part=f"part {number // 2}",
        novelty=dice.gauss(0, 1),
        brightness=100 + 20 * score,
        contrast=40 + 5 * score,
        sharpness=9 + score,
        colour_balance=1.0,
        at=END - timedelta(days=DAYS * dice.random()),
    )


def _id_of(number: int) -> str:
    return hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()


def _views(database: Database, images: ImageFolder) -> dict[str, View]:
    def statistics(days: float, periods: int, until: datetime = END, **chosen: Any) -> View:
        return partial(
            count_inspections, database, until - timedelta(days=days), until, periods, Chosen(**chosen)
        )

    def listing(**wanted: Any) -> View:
        return partial(find_page, database, Filter(**({"product": "bolt"} | wanted)), None, 50)

    odd = END - timedelta(minutes=7, seconds=3)
    return {
        "`/statistics`, 24 hours in 24 periods": statistics(1, 24),
        "`/statistics`, 24 hours that begin at any second": statistics(1, 24, odd),
        "`/statistics`, 7 days in 28 periods": statistics(7, 28),
        "`/statistics`, 30 days in 30 periods": statistics(30, 30),
        "`/statistics`, 30 days in 200 periods from any second": statistics(30, 200, odd),
        "`/statistics`, 800 days in 200 periods": statistics(800, 200),
        **_filtered(statistics, listing, odd),
        "`/products`": partial(overview_of_products, database, END),
        "`/inspections`, newest": listing(),
        "`/inspections`, least certain": listing(order="uncertain"),
        "`/inspections`, least certain without label": listing(order="uncertain", labelled=False),
        "`/inspections`, most novel without label": listing(order="novel", model_version=3, labelled=False),
        "`/monitoring`, 3 windows of 500": partial(
            find_windows, database, ("Production_Reg", 3), END, size=500, count=3, apart=timedelta(hours=1)
        ),
        "`verdict=review`, none": listing(verdict="review"),
        "`verdict=review`, none, least certain": listing(verdict="review", order="uncertain"),
        "`verdict=defective`": listing(verdict="defective"),
        "`model_version`, none": listing(model_version=99),
        "`line`": listing(line="line 2"),
        "`line`, none": listing(line="line 9"),
        "`line`, none, least certain": listing(line="line 9", order="uncertain"),
        "`group`": listing(group="lot 3"),
        "`part`": listing(part="part 7"),
        "`label=defective`": listing(label="defective"),
        "`labelled=true`": listing(labelled=True),
        "`labelled=true` on one day": listing(
            labelled=True, since=END - timedelta(days=3), until=END - timedelta(days=2)
        ),
        "`search`, none": listing(search="nowhere"),
        "`search` on one day, none": listing(
            search="nowhere", since=END - timedelta(days=3), until=END - timedelta(days=2)
        ),
        "500 rows of `/inspections.csv`": partial(find_page, database, Filter(product="bolt"), None, 500),
        "labelled images for an export": partial(find_labelled, database, "bolt"),
        "`/metrics`, jobs": partial(count_jobs, database),
        "pruning, nothing to remove": lambda: prune(database, images, 2 * DAYS, 1e12, END),
        "counting again (`defect records rebuild`)": partial(count_again, database),
    }


def _filtered(
    statistics: Callable[..., View], listing: Callable[..., View], odd: datetime
) -> dict[str, View]:
    """Return the views of a product by line, station, model version, verdict, defect type and time, together."""
    day = {"since": END - timedelta(days=3), "until": END - timedelta(days=2)}
    place = {"line": "line 2", "station": "station 1"}
    chosen: dict[str, dict[str, Any]] = {
        "": {},
        "line": {"line": "line 2"},
        "station": {"station": "station 1"},
        "line, station": place,
        "model version": {"model_version": 3},
        "line, station, model version": place | {"model_version": 3},
        "a line that is not there": {"line": "line 9"},
    }
    spans = {"7 days in 28 periods": (7, 28, END), "30 days in 200 periods from any second": (30, 200, odd)}
    lists = chosen | {
        "verdict": {"verdict": "defective"},
        "line, verdict": place | {"verdict": "defective"},
        "line, verdict, none": place | {"verdict": "review"},
        "line, model version, none": place | {"model_version": 99},
        "station of another line, none": {"line": "line 2", "station": "station 9"},
        "defect type": {"defect_type": "scratch"},
        "defect type, none": {"defect_type": "crack"},
        "line, station, model version, verdict, type, one day": {
            **place,
            **day,
            "model_version": 3,
            "verdict": "ok",
            "defect_type": "dent",
        },
        "line, verdict, one day": place | day | {"verdict": "ok"},
    }
    views = {
        f"`/statistics` of a product, {span}{f', {name}' if name else ''}": statistics(
            *times, product="bolt", **wanted
        )
        for span, times in spans.items()
        for name, wanted in chosen.items()
    }
    orders: dict[str, dict[str, Any]] = {
        "newest": {},
        "least certain": {"order": "uncertain", "labelled": False},
    }
    for order, of_order in orders.items():
        views |= {
            f"`/inspections` of a product, {order}{f', {name}' if name else ''}": listing(
                product="bolt", **wanted, **of_order
            )
            for name, wanted in lists.items()
        }
    return views


def _inserting(database: Database) -> View:
    """Return a function that inserts a batch as the recorder does, each time another."""
    numbers = iter(range(10**9, 10**10, BATCH))
    return lambda: _insert(database, next(numbers), BATCH)


def _timed(view: View) -> float | None:
    """Return the median of milliseconds; None: it was ended, because it took too long."""
    took = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        try:
            view()
        except RecordsError:
            return None
        took.append(1000 * (time.perf_counter() - started))
        if took[-1] > 3000:
            break
    return median(took)


def render(result: dict[str, Any]) -> str:
    """Return the table: a row for each view, a column for each database and size."""
    rows = result["rows"]
    columns = [f"{row['database']}, {row['size']:,}" for row in rows]
    cells = [[name, *(_cell(row["ms"][name]) for row in rows)] for name in rows[0]["ms"]]
    about = f"Milliseconds. Inspections of {DAYS} days, {LABELS} of them labelled, eight of ten about one product."
    slow = [one for one in cells if _is_slow([row["ms"][one[0]] for row in rows], one[0])]
    late = f"Views beyond {LIMIT_MS} ms: {', '.join(one[0] for one in slow) or 'none'}."
    return f"{about} {late}\n\n{table(['', *columns], cells)}"


def _is_slow(milliseconds: list[float | None], name: str) -> bool:
    """Say whether a view by product takes too long."""
    return "of a product" in name and any(one is None or one > LIMIT_MS for one in milliseconds)


def _cell(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "ended"
    return f"{milliseconds:.0f}" if milliseconds >= 10 else f"{milliseconds:.1f}"
