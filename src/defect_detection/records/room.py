"""Keep the images within their size limit: delete fairly between senders and lines, while images arrive and when pruning.

What feedback labels stays. Callers without a key lose theirs first, all but a small share of the room. Then the largest senders lose
the most, and within a sender the largest lines. Within a line, the oldest images are deleted first, those with doubtful verdicts last.
"""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise

from sqlalchemy import Select, delete, exists, func, select
from sqlalchemy.orm import Session

from defect_detection.errors import RecordsError
from defect_detection.records.database import Database, alone_with_labels
from defect_detection.records.image_store import ImageStore
from defect_detection.records.senders import network_of
from defect_detection.records.tables import FeedbackRow, ImageRow

BATCH = 100  # rows in one transaction: few, so recording and other work of the server wait only briefly
ANONYMOUS_SHARE = 0.1  # of the room, that callers without a key keep before the images of others go
SPARE = 0.01  # share of the limit that is freed in addition, because finding images takes longer than deleting them
MEASURE_EVERY_S = 60.0  # images of other servers are counted then
LOG_EVERY_S = 3600.0
ANONYMOUS = "without a key"
MOST_LINES = 50  # lines counted separately per sender, because the caller chooses the name of the line

Rest = Callable[
    [float], object
]  # is called after each batch with the seconds that it took, and lets others have their turn
Origin = tuple[str | None, ...]  # ANONYMOUS or the key, the sender, the line; None: all lines

log = logging.getLogger(__name__)
_unlabelled = ~exists().where(FeedbackRow.sha256 == ImageRow.sha256)


class Room:
    """Keeps images within their room while they are written. One thread uses it.

    Args:
        max_bytes: of all images; None: no limit.
    """

    def __init__(self, database: Database, images: ImageStore, max_bytes: float | None = None) -> None:
        self._database = database
        self._images = images
        self._max = max_bytes
        self._taken: float = 0  # bytes, as far as is known
        self._measured_at = float("-inf")
        self._warned_at = float("-inf")

    def added(self, n_bytes: int) -> None:
        """Count what was written, and remove images where that is too much.

        Raises:
            RecordsError: the database can't be written.
        """
        self._taken += n_bytes
        now = time.monotonic()
        if self._max is None or (self._taken <= self._max and now - self._measured_at < MEASURE_EVERY_S):
            return
        self._taken, self._measured_at = bytes_taken(self._database), now
        if self._taken <= self._max:
            return
        try:
            wanted = (1 - SPARE) * self._max
            _, freed, over = make_room(self._database, self._images, wanted, lambda _s: None)
        except OSError as error:
            raise RecordsError(
                f"{self._images}: images cannot be deleted: {error.strerror or error}"
            ) from error
        self._taken -= freed
        if over > SPARE * self._max and now - self._warned_at > LOG_EVERY_S:
            self._warned_at = now
            log.warning(
                "labelled images fill records.keep_gb: no further image is stored; raise the limit, or delete images"
            )


def bytes_taken(database: Database) -> int:
    """Return how many bytes all images have."""
    with database.reading() as session:
        return int(session.scalar(select(func.sum(ImageRow.n_bytes))) or 0)  # PostgreSQL: a Decimal


def make_room(
    database: Database, images: ImageStore, max_bytes: float, rest: Rest = time.sleep
) -> tuple[int, int, int]:
    """Remove images until the rest fits; return their number, their bytes and what is still too much.

    Raises:
        RecordsError: the database can't be written. OSError: the folder can't.
    """
    excess = bytes_taken(database) - max_bytes
    count, n_bytes, wanted = 0, 0, 0.0
    shares = _shares(_sizes(database), excess, max_bytes) if excess > 0 else {}
    for (_, sender, line), share in shares.items():
        wanted += share  # total so far; images are deleted whole, so one sender may lose more than its share
        query = select(ImageRow).where(ImageRow.sent_by == sender, _unlabelled)
        query = query if line is None else query.where(ImageRow.line == line)
        ordered = query.order_by(ImageRow.doubtful, ImageRow.at)
        removed = remove_images(database, images, ordered, wanted - n_bytes, rest)
        count, n_bytes = count + removed[0], n_bytes + removed[1]
    return count, n_bytes, max(0, int(excess - n_bytes))


def _sizes(database: Database) -> dict[Origin, float]:
    """Return the bytes of unlabelled images by sender and line; a sender with many lines counts as one line."""
    row = ImageRow
    total = func.sum(row.n_bytes)
    query = select(row.sent_by, row.line, total).where(_unlabelled).group_by(row.sent_by, row.line)
    with database.reading() as session:
        rows = list(session.execute(query))
    n_lines = Counter(sender for sender, _, _ in rows)
    sizes: dict[Origin, float] = defaultdict(float)
    for sender, line, n_bytes in rows:
        kind = ANONYMOUS if network_of(sender) else f"key {sender}"
        sizes[kind, sender, line if n_lines[sender] <= MOST_LINES else None] += int(n_bytes)
    return sizes


def _shares(sizes: Mapping[Origin, float], excess: float, max_bytes: float) -> dict[Origin, float]:
    """Return how many bytes to delete for each sender and line."""
    anonymous = {path: size for path, size in sizes.items() if path[0] == ANONYMOUS}
    first = min(excess, max(0, sum(anonymous.values()) - ANONYMOUS_SHARE * max_bytes))
    gone = _levelled(anonymous, first)
    left = {path: size - gone.get(path, 0) for path, size in sizes.items()}
    then = _levelled(left, excess - first)
    return {path: total for path in sizes if (total := gone.get(path, 0) + then.get(path, 0)) > 0}


def _levelled(sizes: Mapping[Origin, float], excess: float, depth: int = 0) -> dict[Origin, float]:
    """Return the bytes to delete per path, if the largest are lowered to a common level at each step."""
    if excess <= 0 or not sizes:
        return {}
    if depth == len(next(iter(sizes))):
        return dict.fromkeys(sizes, excess)
    parts: dict[str | None, dict[Origin, float]] = defaultdict(dict)
    for path, size in sizes.items():
        parts[path[depth]][path] = size
    level = _level([sum(part.values()) for part in parts.values()], excess)
    return {
        path: gone
        for part in parts.values()
        for path, gone in _levelled(part, sum(part.values()) - level, depth + 1).items()
    }


def _level(sizes: Sequence[float], excess: float) -> float:
    """Return the common level to which the larger sizes are lowered, so the total decreases by this amount."""
    ordered = [*sorted(sizes, reverse=True), 0.0]
    for count, (size, following) in enumerate(pairwise(ordered), 1):
        if excess <= count * (size - following):
            return size - excess / count
        excess -= count * (size - following)
    return 0.0


@contextmanager
def batch(rest: Rest) -> Iterator[None]:
    """Time a batch, and let others have their turn after it."""
    started = time.monotonic()
    yield
    rest(time.monotonic() - started)


def remove_images(
    database: Database,
    images: ImageStore,
    query: Select[ImageRow],
    wanted_bytes: float | None,
    rest: Rest,
) -> tuple[int, int]:
    """Remove the images of a query until enough bytes are free; None: all. Return their number and bytes.

    Rows go before files, so that none ever names a file that was removed.
    """
    count, n_bytes = 0, 0
    while wanted_bytes is None or n_bytes < wanted_bytes:
        with batch(rest), images.lock:
            with database.writing() as session:
                alone_with_labels(session)
                rows = list(session.scalars(query.limit(BATCH)))
                if wanted_bytes is not None:
                    rows = _first_of(rows, wanted_bytes - n_bytes)
                _delete_rows(session, rows)
            for row in rows:
                images.remove(row.sha256, row.suffix)
        count, n_bytes = count + len(rows), n_bytes + sum(row.n_bytes for row in rows)
        if not rows:
            break
    return count, n_bytes


def _first_of(rows: list[ImageRow], wanted_bytes: float) -> list[ImageRow]:
    taken: list[ImageRow] = []
    for row in rows:
        if wanted_bytes <= 0:
            break
        taken.append(row)
        wanted_bytes -= row.n_bytes
    return taken


def _delete_rows(session: Session, rows: list[ImageRow]) -> None:
    if rows:
        session.execute(delete(ImageRow).where(ImageRow.sha256.in_([row.sha256 for row in rows])))
