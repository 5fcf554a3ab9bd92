"""Count the types of defects that models named, over time and by line."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from sqlalchemy import func, select

from defect_detection.records.counts import Chosen
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
    row, periods = InspectionRow, []
    lines: dict[str, Counter[str]] = {}
    named = select(row.defect_type, row.line, func.count()).where(row.defect_type.is_not(None))
    with database.reading(READ_S) as session:
        for since, until in pairwise(bounds):
            within = named.where(row.at >= since, row.at < until, chosen.of(row))
            counts: Counter[str] = Counter()
            for name, line, count in session.execute(within.group_by(row.defect_type, row.line)):
                counts[str(name)] += count
                lines.setdefault(line, Counter())[str(name)] += count
            periods.append(counts)
    return TypeCounts(tuple(periods), lines)
