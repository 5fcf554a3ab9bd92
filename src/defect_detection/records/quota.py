"""Limit the bytes of images stored for each caller without a key."""

import threading
import time

from defect_detection.records.senders import network_of

HOUR_S = 3600.0
MOST_CALLERS = 10_000  # remembered; the one that was silent for longest is forgotten


class Quota:
    """Limits the bytes per hour stored for each caller without a key. Callers with a key have no limit.

    Args:
        n_bytes: an hour; as many at once after an hour without any. None: no limit.
    """

    def __init__(self, n_bytes: float | None = None) -> None:
        self._most = n_bytes
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}  # by caller: bytes, and when that was

    def take(self, sender: str, n_bytes: int, now_s: float | None = None) -> bool:
        """Take the bytes of an image from the quota, and return whether enough were left."""
        caller = network_of(sender) if self._most is not None else None
        if caller is None or self._most is None:
            return True
        now_s = time.monotonic() if now_s is None else now_s
        with self._lock:
            left, since = self._left.pop(caller, (self._most, now_s))
            left = min(self._most, left + (now_s - since) * self._most / HOUR_S)
            is_within = n_bytes <= left
            self._left[caller] = (left - n_bytes * is_within, now_s)
            if len(self._left) > MOST_CALLERS:
                del self._left[next(iter(self._left))]
        return is_within
