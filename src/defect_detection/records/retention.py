"""Remove what is older, or takes more room, than is to be kept. What feedback labels stays: it is training data."""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import delete, exists, select

from defect_detection.config import Config
from defect_detection.records.database import Database, alone_with_labels
from defect_detection.records.images import ImageFolder, remove_if_older
from defect_detection.records.jobs import log_file_of
from defect_detection.records.room import BATCH, Rest, batch, make_room, remove_images
from defect_detection.records.store import Records
from defect_detection.records.tables import FeedbackRow, ImageRow, InspectionRow, JobRow
from defect_detection.records.tallies import count_out

LEFTOVER_S = 3600.0  # a file without a row that is older was left by an interrupted write


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed: inspections, images and their bytes, files that no row named, and jobs.

    over_bytes: by how much the images that must be kept still exceed the limit.
    """

    inspections: int
    images: int
    n_bytes: int
    leftovers: int
    over_bytes: int
    jobs: int = 0

    def __str__(self) -> str:
        return (
            f"{self.inspections} inspections, {self.images} images ({self.n_bytes / 1e9:.3g} GB), "
            f"{self.leftovers} leftover files and {self.jobs} jobs"
        )

    @property
    def warning(self) -> str:
        """Say that what must be kept takes too much room, or nothing."""
        if not self.over_bytes:
            return ""
        return f"Images take {self.over_bytes / 1e9:.3g} GB more than records.keep_gb: they are labelled, so they stay"


def prune_records(config: Config, records: Records, rest: Rest = time.sleep) -> Pruned:
    """Remove inspections, images and jobs as the settings say. Arguments and errors as of :func:`prune`."""
    keep = config.records
    max_bytes = keep.keep_gb and keep.keep_gb * 1e9
    pruned = prune(records.database, records.images, keep.keep_days, max_bytes, rest=rest)
    jobs = prune_jobs(records.database, config.root, keep.keep_days) if keep.keep_days else 0
    return replace(pruned, jobs=jobs)


def prune(
    database: Database,
    images: ImageFolder,
    keep_days: float | None,
    max_bytes: float | None,
    now: datetime | None = None,
    rest: Rest = time.sleep,
) -> Pruned:
    """Remove old inspections with their images, then images until the rest fits, see `room`.

    An image goes when no inspection that stays shows it. Rows go before files, so that none ever names a file that
    was removed.

    Args:
        keep_days: age from which inspections go; None: none goes.
        max_bytes: room for images; None: any. Their inspections stay.
        rest: see `Rest`. What it raises ends the pruning between two batches.

    Raises:
        RecordsError: the database can't be written. OSError: the folder can't.
    """
    now = now or datetime.now(UTC)
    inspected = exists().where(InspectionRow.sha256 == ImageRow.sha256)
    inspections = 0 if keep_days is None else _prune_old(database, now - timedelta(days=keep_days), rest)
    removed = remove_images(database, images, select(ImageRow).where(~inspected), None, rest)
    room = make_room(database, images, max_bytes, rest) if max_bytes is not None else (0, 0, 0)
    leftovers = _prune_leftovers(database, images, rest)
    return Pruned(inspections, removed[0] + room[0], removed[1] + room[1], leftovers, room[2])


def _prune_old(database: Database, before: datetime, rest: Rest) -> int:
    old = (
        select(InspectionRow.id)
        .where(InspectionRow.at < before, ~exists().where(FeedbackRow.sha256 == InspectionRow.sha256))
        .order_by(InspectionRow.at)
        .limit(BATCH)
    )
    removed = 0
    while True:
        with batch(rest), database.writing() as session:
            alone_with_labels(session)
            ids = list(session.scalars(old))
            count_out(session, ids)
            session.execute(delete(InspectionRow).where(InspectionRow.id.in_(ids)))
        removed += len(ids)
        if len(ids) < BATCH:
            return removed


def prune_jobs(database: Database, root: Path, keep_days: float, now: datetime | None = None) -> int:
    """Remove jobs that ended so long ago, with their logs, and return how many."""
    before = (now or datetime.now(UTC)) - timedelta(days=keep_days)
    with database.writing() as session:
        old = list(session.scalars(select(JobRow.id).where(JobRow.ended_at < before)))
        session.execute(delete(JobRow).where(JobRow.id.in_(old)))
    for job_id in old:
        log_file_of(root, job_id).unlink(missing_ok=True)
    return len(old)


def _prune_leftovers(database: Database, images: ImageFolder, rest: Rest) -> int:
    """Remove files that no row names: a crash came between the image and its row, or in the middle of the image."""
    removed = 0
    for files in images.files_by_folder():
        with batch(rest), images.lock, database.reading() as session:
            known = set(session.scalars(select(ImageRow.sha256).where(ImageRow.sha256.in_(files))))
            removed += sum(
                remove_if_older(path, LEFTOVER_S) for sha256, path in files.items() if sha256 not in known
            )
    return removed
