"""Wait for a condition, never for a time, so tests also pass on a slow or busy machine.

The limit only ends a test that would hang. Nothing that passes comes near it.
"""

import time
from collections.abc import Callable

LIMIT_S = 600.0


def wait_until(condition: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    """Return once the condition holds."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
