"""Figures of all products at once: how many parts were rejected lately, and what waits for a person."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from defect_detection.records.database import READ_S, Database
from defect_detection.records.tables import TallyRow
from defect_detection.records.tallies import (
    DAY_S,
    IS_WHOLE,
    JUDGED_AT,
    LABELS,
    QUARTER_S,
    SCORES_AT,
    VERDICTS,
    begin_of,
    find_tallies,
)

RECENT = timedelta(hours=24)


@dataclass(slots=True)
class Overview:
    """One product. inspected, defective: in the last 24 hours, by whole quarter hours. waiting: verdicts *review* without a label."""

    inspected: int = 0
    defective: int = 0
    waiting: int = 0

    @property
    def reject_rate(self) -> float | None:
        """Return defective / inspected; None without inspections."""
        return self.defective / self.inspected if self.inspected else None


def overview_of_products(database: Database, now: datetime | None = None) -> dict[str, Overview]:
    """Return the figures of each product that has records.

    Raises:
        SlowReadError: it takes too long. RecordsError: the database can't be reached.
    """
    since_s = begin_of((now or datetime.now(UTC)) - RECENT, QUARTER_S)
    found: dict[str, Overview] = defaultdict(Overview)
    defective = slice(
        VERDICTS.index("defective") * len(LABELS), (VERDICTS.index("defective") + 1) * len(LABELS)
    )
    recent = IS_WHOLE & (TallyRow.span_s == QUARTER_S) & (TallyRow.begin_s >= since_s)
    with database.reading(READ_S) as session:
        for key, counts, _ in find_tallies(session, recent):
            found[key.product].inspected += int(counts[:SCORES_AT].sum())
            found[key.product].defective += int(counts[defective].sum())
        for key, counts, _ in find_tallies(session, IS_WHOLE & (TallyRow.span_s == DAY_S)):
            found[key.product].waiting += int(counts[JUDGED_AT["review", None]])
    return found
