"""Read the latest inspections of a model in windows that do not overlap, for a comparison with its training images."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
from sqlalchemy import select

from defect_detection.config.products import DEFAULT
from defect_detection.evaluation.drift import FIGURES
from defect_detection.records.database import READ_S, Database
from defect_detection.records.tables import InspectionRow, TallyRow
from defect_detection.records.tallies import DAY_S, IS_WHOLE, SCORES_AT, begin_of, find_tallies

MOST_PLACES = 50  # that are compared on their own: those with the most inspections
RECENT = timedelta(days=30)  # for which a place is looked at


class Place(NamedTuple):
    """A station of a line, as the callers name them; one of both may be empty."""

    line: str
    station: str

    def __str__(self) -> str:
        return ", ".join(filter(None, self))


@dataclass(frozen=True, slots=True)
class Window:
    """Inspections in a row, newest first: id and name of each, and their figures, float (n_inspections,), where all are known."""

    since: datetime
    until: datetime
    ids: tuple[str, ...]
    names: tuple[str, ...]
    figures: dict[str, np.ndarray]


def find_windows(
    database: Database,
    model: tuple[str, int],
    until: datetime,
    *,
    size: int,
    count: int,
    apart: timedelta,
    product: str = DEFAULT,
    place: Place | None = None,
) -> tuple[list[Window], int]:
    """Return at most `count` windows before `until`, newest first, and how many inspections more there are for the next one.

    The database reads no more than `size` rows of each, by its index.

    Args:
        model: name and version. apart: between the ends of two windows, at least. place: None for all of the product.

    Raises:
        SlowReadError: it takes too long. RecordsError: the database can't be reached.
    """
    row, windows = InspectionRow, list[Window]()
    columns = (row.at, row.id, row.name, *(getattr(row, name) for name in FIGURES))
    of_model = select(*columns).where(
        row.product == product, row.model_version == model[1], row.model_name == model[0]
    )
    if place is not None:
        of_model = of_model.where(
            row.line == place.line, row.station == place.station, row.at >= until - RECENT
        )
    known = of_model.where(row.brightness.is_not(None)).order_by(row.at.desc(), row.id.desc()).limit(size)
    with database.reading(READ_S) as session:
        while len(windows) < count:
            rows = session.execute(known.where(row.at < until)).all()
            if len(rows) < size:
                return windows, len(rows)
            at, ids, names, *figures = zip(*rows, strict=True)
            complete = {
                name: values for name, values in zip(FIGURES, figures, strict=True) if None not in values
            }
            arrays = {name: np.array(values, float) for name, values in complete.items()}
            windows.append(Window(at[-1], at[0], ids, names, arrays))
            until = min(at[-1], at[0] - apart)
    return windows, 0


def find_places(
    database: Database, model: tuple[str, int], until: datetime, *, size: int, product: str = DEFAULT
) -> list[Place]:
    """Return the lines and stations at which a model has inspected a window lately, in the order of their names.

    Raises:
        SlowReadError: it takes too long. RecordsError: the database can't be reached.
    """
    row, counts = TallyRow, Counter[Place]()
    days = row.begin_s.between(begin_of(until - RECENT, DAY_S), begin_of(until, DAY_S))
    of_model = (row.product == product) & (row.model_name == model[0]) & (row.model_version == model[1])
    with database.reading(READ_S) as session:
        for key, found, _ in find_tallies(session, (row.span_s == DAY_S) & days & of_model & ~IS_WHOLE):
            counts[Place(key.line, key.station)] += int(found[:SCORES_AT].sum())
    return sorted(place for place, count in counts.most_common(MOST_PLACES) if count >= size)
