"""Count the types of defects that models named, over time and by line."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import Select, func, select

from defect_detection.records.counts import Chosen, is_between
from defect_detection.records.database import READ_S, Database
from defect_detection.records.tables import InspectionRow


@dataclass(frozen=True, slots=True)
class TypeCounts:
    """How often each type was the strongest of an inspection: in each period, and on each line."""

    periods: tuple[Counter[str], ...]
    lines: dict[str, Counter[str]]

    @property
    def total(self) -> Counter[str]:
        return sum(self.periods, Counter())


def count_types(database: Database, bounds: Sequence[datetime], chosen: Chosen) -> TypeCounts:
    """Count the types between each two neighbouring bounds.

    Raises:
        SlowReadError: it takes too long. RecordsError: the database can't be reached.
    """
    periods, lines = [], dict[str, Counter[str]]()
    query = _of_a_period(chosen)
    with database.reading(READ_S) as session:
        connection = session.connection()
        for since, until in pairwise(bounds):
            counts: Counter[str] = Counter()
            for name, line, count in connection.execute(query, {"since": since, "until": until}):
                counts[name] += count
                lines.setdefault(line, Counter())[name] += count
            periods.append(counts)
    return TypeCounts(tuple(periods), lines)


def _of_a_period(chosen: Chosen) -> Select[*tuple[Any, ...]]:
    """Return the query for the counts by type and line. An index answers it alone."""
    row = InspectionRow
    counted = select(row.defect_type, row.line, func.count()).where(row.defect_type.is_not(None))
    return counted.where(is_between(row.at), chosen.of(row)).group_by(row.defect_type, row.line)
