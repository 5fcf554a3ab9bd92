"""Work functions for the decoding processes, which import them by name."""

import os
import signal
import time
from pathlib import Path


def die(_source: object, _file: object, _limits: object) -> None:
    """Decode as a process does that the system ends."""
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for(_source: object, _file: object, _limits: object, path: Path) -> str:
    """Decode until a file is there."""
    while not path.exists():
        time.sleep(0.01)
    return "done"
