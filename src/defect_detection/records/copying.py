"""Make a copied database of inspections usable on its own, and list the images that belong to it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import delete, select

from defect_detection.environment import quoted
from defect_detection.records.database import Database
from defect_detection.records.jobs import end_job
from defect_detection.records.room import BATCH
from defect_detection.records.tables import ImageRow, JobRow

_CUT_OFF = "the backup was made while this job ran; in the original project, the job may have continued"


@contextmanager
def lone_copy(file: Path) -> Iterator[Database]:
    """Open a copied SQLite file; afterwards nothing lies beside it."""
    database = Database(f"sqlite:///{quoted(file)}")
    try:
        yield database
    finally:
        database.close()
        Path(f"{file}.lock").unlink(missing_ok=True)


def images_of(database: Database) -> list[tuple[str, str]]:
    """Return the content hash and the suffix of each image that is kept."""
    with database.reading() as session:
        return [(row.sha256, row.suffix) for row in session.execute(select(ImageRow.sha256, ImageRow.suffix))]


def forget_images(database: Database, contents: Sequence[str]) -> None:
    """Let inspections be without their images, as after pruning."""
    for first in range(0, len(contents), BATCH):
        with database.writing() as session:
            session.execute(delete(ImageRow).where(ImageRow.sha256.in_(contents[first : first + BATCH])))


def end_running_jobs(database: Database) -> None:
    """Mark the jobs that ran during the copy as failed, because their processes belong to the original."""
    with database.reading() as session:
        running = list(session.scalars(select(JobRow.id).where(JobRow.state == "running")))
    for job_id in running:
        end_job(database, job_id, "failed", reason=_CUT_OFF)
