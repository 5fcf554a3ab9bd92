"""Delete records beyond the retention limits. Labelled images are training data and stay."""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path

from sqlalchemy import delete, exists, select

from defect_detection.config import Config
from defect_detection.records.clock import gap_before
from defect_detection.records.database import Database, alone_with_labels
from defect_detection.records.image_store import ImageStore
from defect_detection.records.job_logs import log_file_of
from defect_detection.records.record_store import Records
from defect_detection.records.room import BATCH, Rest, batch, make_room, remove_images
from defect_detection.records.tables import FeedbackRow, ImageRow, InspectionRow, JobLogRow, JobRow
from defect_detection.records.tallies import count_all, count_out

MOST_SHARE = 0.1  # of all inspections, that one pruning removes: no wrong clock or setting takes them all
LEAST_AT_ONCE = 1_000  # inspections that may go whatever their share
_AT_ONCE = "`defect prune --at-once` deletes everything beyond the retention limit immediately."
LEFTOVER_S = 3600.0  # a file without a row that is older was left by an interrupted write


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed: inspections, images and their bytes, files that no row named, and jobs.

    over_bytes: by how much the images that must be kept still exceed the limit. held_back: why older inspections stay for now, or "".
    """

    inspections: int
    images: int
    n_bytes: int
    leftovers: int
    over_bytes: int
    jobs: int = 0
    held_back: str = ""

    def __str__(self) -> str:
        return (
            f"{self.inspections} inspections, {self.images} images ({self.n_bytes / 1e9:.3g} GB), "
            f"{self.leftovers} leftover files and {self.jobs} jobs"
        )

    @property
    def warning(self) -> str:
        """Describe what was held back, and whether labelled images exceed the limit; "" if neither."""
        too_much = (
            f"Images take {self.over_bytes / 1e9:.3g} GB more than records.keep_gb: all of them are labelled, so they are "
            "kept"
        )
        return " ".join(filter(None, [self.held_back, too_much if self.over_bytes else ""]))


def prune_records(
    config: Config,
    records: Records,
    rest: Rest = time.sleep,
    at_once: bool = False,
) -> Pruned:
    """Delete inspections, images and jobs according to the settings. Arguments and errors as in :func:`prune`."""
    keep = config.records
    max_bytes = keep.keep_gb and keep.keep_gb * 1e9
    usual = keep.prune_every_h / 24 / (keep.keep_days or 1)  # that comes of age between two prunings
    share = None if at_once else max(MOST_SHARE, 3 * usual)
    pruned = prune(records.database, records.images, keep.keep_days, max_bytes, rest=rest, share=share)
    if keep.keep_days is None or pruned.held_back:
        return pruned
    return replace(pruned, jobs=prune_jobs(records.database, config.root, keep.keep_days))


def prune(
    database: Database,
    images: ImageStore,
    keep_days: float | None,
    max_bytes: float | None,
    now: datetime | None = None,
    rest: Rest = time.sleep,
    share: float | None = MOST_SHARE,
) -> Pruned:
    """Remove old inspections with their images, then images until the rest fits, see `room`.

    An image goes when no inspection that stays shows it. Rows go before files, so that none ever names a file that
    was removed.

    Args:
        keep_days: age from which inspections go; None: none goes.
        max_bytes: room for images; None: any. Their inspections stay.
        rest: see `Rest`. What it raises ends the pruning between two batches.
        share: of all inspections, that may go at most; none goes while the clock is in doubt. None: all that are too old go.

    Raises:
        RecordsError: the database can't be written. OSError: the folder can't.
    """
    now = now or datetime.now(UTC)
    inspected = exists().where(InspectionRow.sha256 == ImageRow.sha256)
    inspections, held_back = 0, ""
    if keep_days is not None:
        inspections, held_back = _prune_old(database, now, timedelta(days=keep_days), rest, share)
    removed = remove_images(database, images, select(ImageRow).where(~inspected), None, rest)
    room = make_room(database, images, max_bytes, rest) if max_bytes is not None else (0, 0, 0)
    leftovers = _prune_leftovers(database, images, rest)
    return Pruned(
        inspections, removed[0] + room[0], removed[1] + room[1], leftovers, room[2], held_back=held_back
    )


def _prune_old(
    database: Database, now: datetime, age: timedelta, rest: Rest, share: float | None
) -> tuple[int, str]:
    """Remove inspections of an age, and return how many, and why others of that age stay."""
    with database.reading() as session:
        if share is not None and (doubt := gap_before(session, now)):
            return 0, f"{doubt} Nothing is deleted by age until the clock can be trusted. {_AT_ONCE}"
        most = inf if share is None else max(LEAST_AT_ONCE, int(share * count_all(session)))
    old = (
        select(InspectionRow.id)
        .where(InspectionRow.at < now - age, ~exists().where(FeedbackRow.sha256 == InspectionRow.sha256))
        .order_by(InspectionRow.at)
    )
    removed = 0
    while removed < most:
        wanted = int(min(BATCH, most - removed))
        with batch(rest), database.writing() as session:
            alone_with_labels(session)
            ids = list(session.scalars(old.limit(wanted)))
            count_out(session, ids)
            session.execute(delete(InspectionRow).where(InspectionRow.id.in_(ids)))
        removed += len(ids)
        if len(ids) < wanted:
            return removed, ""
    with database.reading() as session:
        more = session.scalar(old.limit(1)) is not None
    left = f"At most {most} inspections are deleted at a time; the other old inspections follow. {_AT_ONCE}"
    return removed, left if more else ""


def prune_jobs(database: Database, root: Path, keep_days: float, now: datetime | None = None) -> int:
    """Remove jobs that ended so long ago, with their logs, and return how many."""
    before = (now or datetime.now(UTC)) - timedelta(days=keep_days)
    with database.writing() as session:
        old = list(session.scalars(select(JobRow.id).where(JobRow.ended_at < before)))
        session.execute(delete(JobLogRow).where(JobLogRow.job_id.in_(old)))
        session.execute(delete(JobRow).where(JobRow.id.in_(old)))
    for job_id in old:
        log_file_of(root, job_id).unlink(missing_ok=True)
    return len(old)


def _prune_leftovers(database: Database, images: ImageStore, rest: Rest) -> int:
    """Remove files that no row names: a crash came between the image and its row, or in the middle of the image."""
    removed = 0
    for files in images.files_by_folder():
        with batch(rest), images.lock, database.reading() as session:
            known = set(session.scalars(select(ImageRow.sha256).where(ImageRow.sha256.in_(files))))
            removed += sum(
                images.remove_if_older(path, LEFTOVER_S)
                for sha256, path in files.items()
                if sha256 not in known
            )
    return removed
