"""Keep what a retraining writes in the database, so that any server can show it.

The retraining writes to a file beside the process that runs it. That process copies what is new, several times a second.
"""

from contextlib import suppress
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from defect_detection.errors import RecordsError
from defect_detection.records.database import Database, insert_missing
from defect_detection.records.tables import JobLogRow

LOG_FOLDER = "jobs"  # in the root
CHUNK_BYTES = 64 * 1024  # of a row, at most
READ_CHUNKS = 16  # at a time


def log_file_of(root: Path, job_id: str) -> Path:
    """Return the file that a running job writes to."""
    return root / LOG_FOLDER / f"{job_id}.log"


def copy_log(database: Database, job_id: str, file: Path) -> None:
    """Copy what a file holds beyond the log that is kept.

    Raises:
        RecordsError: the database cannot be reached or written.
    """
    if not file.is_file():
        return
    with database.reading() as session:
        reached = _length(session, job_id)
    with file.open("rb") as stream:
        stream.seek(reached)
        while content := stream.read(CHUNK_BYTES):
            with database.writing() as session:
                row = {"job_id": job_id, "place": reached, "content": content}
                insert_missing(session, JobLogRow, [row])
            reached += len(content)


def read_log(database: Database, job_id: str, file: Path, place: int) -> bytes:
    """Return bytes of a log from a place on: about a megabyte at most, none at its end.

    Args:
        file: what the database does not hold is looked for there: while it is lost, and of jobs of an earlier version.
    """
    with suppress(RecordsError):
        if content := _kept(database, job_id, place):
            return content
    with suppress(OSError), file.open("rb") as stream:
        stream.seek(place)
        return stream.read(READ_CHUNKS * CHUNK_BYTES)
    return b""


def end_of_log(database: Database, job_id: str, most_bytes: int) -> str:
    """Return the last bytes of a log that is kept, as text.

    Raises:
        RecordsError: the database cannot be reached.
    """
    with database.reading() as session:
        place = max(0, _length(session, job_id) - most_bytes)
    return _kept(database, job_id, place).decode(errors="replace")


def _kept(database: Database, job_id: str, place: int) -> bytes:
    row = JobLogRow
    mine = row.job_id == job_id
    first = select(func.max(row.place)).where(mine, row.place <= place).scalar_subquery()
    query = select(row.place, row.content).where(mine, row.place >= first).order_by(row.place)
    with database.reading() as session:
        chunks = session.execute(query.limit(READ_CHUNKS)).all()
    return b"".join(content for _, content in chunks)[place - chunks[0].place :] if chunks else b""


def _length(session: Session, job_id: str) -> int:
    """Return how many bytes of a log are kept: the end of its last row."""
    row = JobLogRow
    last = select(row.place, func.length(row.content)).where(row.job_id == job_id)
    found = session.execute(last.order_by(row.place.desc()).limit(1)).first()
    return sum(found) if found else 0
