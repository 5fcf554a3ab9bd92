"""Run code in a separate process that is killed at a given step."""

import os
import subprocess
import sys
from pathlib import Path

_STEPS = """
import os, pathlib, sys

left = int(sys.argv[2])

def counted(real):
    def call(*arguments, **named):
        global left
        if left == 0:
            os._exit(9)
        left -= 1
        return real(*arguments, **named)
    return call

root = pathlib.Path(sys.argv[1])
"""


def killed_at(step: int, root: Path, code: str, **environment: str) -> bool:
    """Say whether `code` was killed. It marks what is a step with `counted`, and finds its folder in `root`."""
    command = [sys.executable, "-c", _STEPS + code, root, str(step)]
    return subprocess.run(command, check=False, env=os.environ | environment).returncode != 0
