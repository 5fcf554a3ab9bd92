"""Record inspections in the background: a bounded queue and one writer thread.

Recording never slows or fails a prediction. While the database is unreachable, inspections wait in memory. When the queue is full,
they are dropped, counted and logged. Callers without a key have a quota, and half of the queue, for their images.
"""

import atexit
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from defect_detection.errors import RecordsError
from defect_detection.records.database import Database
from defect_detection.records.image_store import ImageStore
from defect_detection.records.inspections import Inspected, add_inspections, row_of_image
from defect_detection.records.quota import Quota
from defect_detection.records.room import Room
from defect_detection.records.senders import network_of
from defect_detection.records.tables import InspectionRow

MAX_WAITING = 2_000  # inspections
MAX_WAITING_BYTES = 256 * 1024 * 1024  # of their images
BATCH = 64  # inspections in one transaction
GATHER_S = 0.1  # that an inspection waits for others: a transaction costs as much processor time as ten inspections in it
RETRY_S = 1.0  # after a failure; twice as long after each further one
MAX_RETRY_S = 10.0
LOG_EVERY_S = 10.0

log = logging.getLogger(__name__)
Waiting = tuple[Inspected, bytes | None]  # None: the image is not to be kept


@dataclass(frozen=True, slots=True)
class RecordingState:
    """How recording goes. Inspections are written, waiting or lost; `images_lost` counts written ones without image.

    images_refused: that were not kept because their sender had no quota left. error: why writing fails now; None while it works.
    """

    written: int
    waiting: int
    lost: int
    images_lost: int
    images_refused: int
    error: str | None
    failing_since: datetime | None


class RecordWriter:
    """Writes what `record` is given. Threads may share it.

    Args:
        max_waiting: inspections that may wait. room, quota: of images; none by default.
    """

    def __init__(
        self,
        database: Database,
        images: ImageStore,
        max_waiting: int = MAX_WAITING,
        room: Room | None = None,
        quota: Quota | None = None,
    ) -> None:
        self._room = room or Room(database, images)
        self._quota = quota or Quota()
        self._database = database
        self._images = images
        self._max_waiting = max_waiting
        self._changed = threading.Condition()
        self._waiting: deque[Waiting] = deque()
        self._waiting_bytes = 0
        self._written = self._lost = self._images_lost = self._images_refused = 0
        self._error: str | None = None
        self._failing_since: datetime | None = None
        self._logged_at = 0.0
        self._thread: threading.Thread | None = None
        self._closing = False
        self._flushing = 0  # threads that wait in `flush`

    def record(self, recorded: Inspected, content: bytes) -> None:
        """Queue one inspection with its image, or count it as lost if the queue is full. Returns immediately and never raises."""
        with self._changed:
            kept = content if self._may_keep(recorded, len(content)) else None
            n_bytes = len(kept or b"")
            full = (
                len(self._waiting) >= self._max_waiting or self._waiting_bytes + n_bytes > MAX_WAITING_BYTES
            )
            if full or self._closing:
                self._count_lost(1)
                return
            self._waiting.append((recorded, kept))
            self._waiting_bytes += n_bytes
            self._start()
            if len(self._waiting) in (1, BATCH):  # otherwise the thread is gathering, or writing
                self._changed.notify_all()

    def _may_keep(self, recorded: Inspected, n_bytes: int) -> bool:
        """Check whether the sender's quota and its share of the queue allow another image."""
        is_full = 2 * (self._waiting_bytes + n_bytes) > MAX_WAITING_BYTES
        is_kept = not (is_full and network_of(recorded.sent_by)) and self._quota.take(
            recorded.sent_by, n_bytes
        )
        if not is_kept:
            self._images_refused += 1
            self._log_at_times(
                "%d images not stored so far: %s exceeded records.anonymous_gb_per_h without a key",
                self._images_refused,
                recorded.sent_by,
            )
        return is_kept

    def check(self) -> None:
        """Return when the database answers and the last inspection could be written.

        Raises:
            RecordsError: they can't be recorded; predictions continue.
        """
        if (error := self.state().error) is not None:
            raise RecordsError(f"inspections cannot be recorded: {error}")
        self._images.check()
        with self._database.reading() as session:
            session.scalar(select(InspectionRow.id).limit(1))

    def state(self) -> RecordingState:
        with self._changed:
            return RecordingState(
                self._written,
                len(self._waiting),
                self._lost,
                self._images_lost,
                self._images_refused,
                self._error,
                self._failing_since,
            )

    def flush(self, timeout_s: float) -> bool:
        """Write the queue now, wait until it is empty, and return whether it is."""
        with self._changed:
            self._flushing += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: not self._waiting, timeout_s)
            finally:
                self._flushing -= 1

    def close(self, timeout_s: float = 5.0) -> None:
        """Write the queue within the time limit and stop; the rest is lost. Later inspections are not accepted."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
            atexit.unregister(self.close)
        with self._changed:
            if self._waiting:
                self._count_lost(len(self._waiting))
                self._waiting.clear()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
            self._thread.start()
            atexit.register(self.close)

    def _run(self) -> None:
        retry_s = RETRY_S
        while batch := self._next_batch():
            try:
                self._room.added(self._write(batch))
            except RecordsError as error:
                if self._note_failure(str(error), retry_s):
                    return
                retry_s = min(2 * retry_s, MAX_RETRY_S)
            else:
                retry_s = RETRY_S

    def _next_batch(self) -> list[Waiting]:
        """Return the first inspections of the queue. They stay in it until they are written; empty when all is done."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            self._changed.wait_for(self._is_urgent, GATHER_S)
            return [self._waiting[place] for place in range(min(BATCH, len(self._waiting)))]

    def _is_urgent(self) -> bool:
        return self._closing or self._flushing > 0 or len(self._waiting) >= BATCH

    def _write(self, batch: list[Waiting]) -> int:
        """Write a batch, and return how many bytes of images were new."""
        try:
            return self._write_together(batch)
        except RecordsError:
            raise
        except Exception as error:  # no bug in one inspection may end the recording of all others
            if len(batch) > 1:
                return sum(self._write([one]) for one in batch)
            log.exception("inspection %s cannot be recorded", batch[0][0].id)
            self._done(batch, lost=1, error=f"{type(error).__name__}: {error}")
            return 0

    def _write_together(self, batch: list[Waiting]) -> int:
        """Write images first, then all rows in one transaction: no row refers to a missing image."""
        new_bytes = 0
        try:
            with self._images.lock:
                rows, new_bytes, error = self._add_images(batch)
                self._insert(batch, rows)
        except OSError as problem:
            rows, error = {}, self._no_image(problem)
            self._insert(batch, rows)
        images_lost = sum(content is not None and one.sha256 not in rows for one, content in batch)
        self._done(batch, images_lost=images_lost, error=error)
        return new_bytes

    def _add_images(self, batch: list[Waiting]) -> tuple[dict[str, Any], int, str | None]:
        """Return the rows of those images that could be written, the bytes of new ones, and why others could not."""
        rows: dict[str, Any] = {}
        new_bytes, error = 0, None
        kept = [(one, content) for one, content in batch if content is not None]
        added = self._images.add_all((one.sha256, content) for one, content in kept)
        for (inspected, content), outcome in zip(kept, added, strict=True):
            if isinstance(outcome, OSError):
                error = self._no_image(outcome)
                continue
            suffix, is_new = outcome
            rows.setdefault(inspected.sha256, row_of_image(inspected, suffix, len(content)))
            new_bytes += len(content) * is_new
        return rows, new_bytes, error

    def _no_image(self, problem: OSError) -> str:
        return f"{self._images}: images cannot be written: {problem.strerror or problem}"

    def _insert(self, batch: list[Waiting], images: dict[str, Any]) -> None:
        with self._database.writing() as session:
            add_inspections(session, [inspected for inspected, _ in batch], images.values())

    def _done(
        self,
        batch: list[Waiting],
        lost: int = 0,
        images_lost: int = 0,
        error: str | None = None,
    ) -> None:
        with self._changed:
            for _ in batch[: len(self._waiting)]:
                self._waiting_bytes -= len(self._waiting.popleft()[1] or b"")
            self._written += len(batch) - lost
            self._lost += lost
            self._images_lost += images_lost
            self._tell_change(error)
            self._changed.notify_all()

    def _note_failure(self, error: str, retry_s: float) -> bool:
        """Wait before the next attempt; return whether the recorder is closing, so there is none."""
        with self._changed:
            self._tell_change(error)
            return self._changed.wait_for(lambda: self._closing, retry_s)

    def _tell_change(self, error: str | None) -> None:
        """Log when recording begins to fail and when it works again."""
        if error is not None and self._error is None:
            self._failing_since = datetime.now(UTC)
            log.error("inspections cannot be recorded; predictions continue. %s", error)
        if error is None and self._error is not None:
            self._failing_since = None
            log.warning(
                "inspections are recorded again; lost so far: %d inspections, %d images",
                self._lost,
                self._images_lost,
            )
        self._error = error

    def _count_lost(self, count: int) -> None:
        self._lost += count
        self._log_at_times(
            "inspections lost so far: %d; waiting to be written: %d. %s",
            self._lost,
            len(self._waiting),
            self._error or "They arrive faster than they can be written",
        )

    def _log_at_times(self, message: str, *facts: object) -> None:
        if time.monotonic() - self._logged_at >= LOG_EVERY_S or self._closing:
            self._logged_at = time.monotonic()
            log.error(message, *facts)
