"""A cluster on this machine."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from nodes import SCRIPT, START_WORKER, Nodes


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A node with one processor; each test adds the one that dies."""
    pytest.importorskip("ray")
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with subprocess.Popen(
        [sys.executable, SCRIPT, START_WORKER],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        yield Nodes(process, process.stdout.readline().strip())
        process.stdin.close()
        process.wait(30)
