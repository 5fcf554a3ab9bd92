"""Measure each view of the records at 10,000 to 1,000,000 inspections, on SQLite and PostgreSQL."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

from benchmarks import datasets
from benchmarks.filled import DAYS, END, LABELS, fill, inspected
from benchmarks.options import Options
from benchmarks.record_views import View, views_of
from benchmarks.tables import table
from defect_detection.errors import RecordsError
from defect_detection.records.database import Database
from defect_detection.records.image_store import ImageFolder
from defect_detection.records.inspections import add_inspections
from defect_detection.records.retention import prune
from defect_detection.records.tallies import count_again
from defect_detection.records.writer import BATCH

REPETITIONS = 3
LIMIT_MS = 300  # of a view

Took = dict[str, float | None]  # milliseconds by name; None: it was ended, because it took too long


def measure(options: Options) -> dict[str, Any]:
    """Fill a database of each kind to each size in turn, and time each view."""
    folder = datasets.empty(options.work / "records")
    urls = {"SQLite": f"sqlite:///{folder}/inspections.db"}
    if options.postgres:
        urls["PostgreSQL"] = options.postgres
    rows = [
        {"database": kind, "size": size, "views": views, "work": work}
        for kind, url in urls.items()
        for size, views, work in _at_sizes(Database(url), ImageFolder(folder / "images"), options.rows)
    ]
    return {"rows": rows}


def _at_sizes(
    database: Database, images: ImageFolder, sizes: tuple[int, ...]
) -> Iterator[tuple[int, Took, Took]]:
    held = 0
    for size in sorted(sizes):
        fill(database, held, size)
        held = size
        yield size, _timed(views_of(database)), _timed(_work(database, images))
    database.close()


def _work(database: Database, images: ImageFolder) -> dict[str, View]:
    """Return what a server does in the background, which the limit of views does not hold for."""
    return {
        "pruning, nothing to remove": lambda: prune(database, images, 2 * DAYS, 1e12, END),
        "counting again (`defect records rebuild`)": partial(count_again, database),
        "insert 64 inspections": _inserting(database),
    }


def _inserting(database: Database) -> View:
    """Return a function that inserts a batch as the recorder does, each time another."""
    numbers = iter(range(10**9, 10**10, BATCH))

    def insert() -> None:
        first = next(numbers)
        with database.writing() as session:
            now = [replace(inspected(first + i), at=END) for i in range(BATCH)]
            add_inspections(session, now, [])

    return insert


def _timed(views: dict[str, View]) -> Took:
    return {name: _median(view) for name, view in views.items()}


def _median(view: View) -> float | None:
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
    """Return the table: a row for each kind of view, with its slowest filter, a column for each database and size."""
    rows = result["rows"]
    columns = [f"{row['database']}, {row['size']:,}" for row in rows]
    counts = Counter(_kind(name) for name in (*rows[0]["views"], *rows[0]["work"]))
    cells = [
        [kind, str(count), *(_cell(_slowest(row["views"] | row["work"], kind)) for row in rows)]
        for kind, count in counts.items()
    ]
    late = [
        f"{name} ({_cell(took)} ms, {column})"
        for row, column in zip(rows, columns, strict=True)
        for name, took in row["views"].items()
        if took is None or took > LIMIT_MS
    ]
    return (
        f"Milliseconds; of each kind of view, the slowest of its filters. Inspections of {DAYS} days, {LABELS} of them labelled, "
        f"eight of ten about one product. Views above {LIMIT_MS} ms: {'; '.join(late) or 'none'}.\n\n"
        f"{table(['', 'filters', *columns], cells)}"
    )


def _kind(name: str) -> str:
    return name.partition(": ")[0]


def _slowest(all_of: Took, kind: str) -> float | None:
    took = [one for name, one in all_of.items() if _kind(name) == kind]
    return None if None in took else max(one for one in took if one is not None)


def _cell(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "ended"
    return f"{milliseconds:.0f}" if milliseconds >= 10 else f"{milliseconds:.1f}"
