"""Detect a wrong clock from the dates of inspections. It must neither delete records nor stop pruning.

Clocks of cameras' computers are set wrong by empty batteries, by restored virtual machines and by hand.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from defect_detection.records.tables import InspectionRow

PROVEN = timedelta(days=7)  # of inspections after a gap, until the clock is believed
GAP = timedelta(days=30)  # longer than a plant's holidays
SKEW = timedelta(minutes=5)  # by which clocks of servers may differ


def doubt_of_clock(session: Session, now: datetime | None = None) -> str:
    """Describe why the dates of inspections suggest a wrong clock; "" if they do not."""
    now = now or datetime.now(UTC)
    return _future(session, now) or gap_before(session, now)


def _future(session: Session, now: datetime) -> str:
    newest = session.scalar(select(func.max(InspectionRow.at)))
    if newest is None or newest <= now + SKEW:
        return ""
    return (
        f"Inspections have dates up to {_said(newest)}, but the clock of this server says {_said(now)}. The clock was ahead "
        "when they were recorded, or it is behind now."
    )


def gap_before(session: Session, now: datetime) -> str:
    """Describe a long gap before the present, during which no deletion by age is allowed; "" if there is none.

    A clock that is far ahead has such a gap behind it, whatever is recorded while it is. So the last days do not count.
    """
    at = InspectionRow.at
    before = session.scalar(select(func.max(at)).where(at <= now - PROVEN))
    if before is None or before >= now - GAP:
        return ""
    return (
        f"The clock of this server says {_said(now)}. Nothing was inspected from {_said(before)} until {PROVEN.days} days "
        "before that. The line stood still, or the clock was set forward."
    )


def _said(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
