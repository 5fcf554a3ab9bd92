"""Read the latest inspections of a model in windows that do not overlap, for a comparison with its training images."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import select

from defect_detection.config.products import DEFAULT
from defect_detection.evaluation.drift import FIGURES
from defect_detection.records.database import READ_S, Database
from defect_detection.records.tables import InspectionRow


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
) -> tuple[list[Window], int]:
    """Return at most `count` windows before `until`, newest first, and how many inspections more there are for the next one.

    The database reads no more than `size` rows of each, by its index.

    Args:
        model: name and version. apart: between the ends of two windows, at least.

    Raises:
        SlowReadError: it takes too long. RecordsError: the database can't be reached.
    """
    row, windows = InspectionRow, list[Window]()
    columns = (row.at, row.id, row.name, *(getattr(row, name) for name in FIGURES))
    of_model = select(*columns).where(
        row.product == product, row.model_version == model[1], row.model_name == model[0]
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
