"""A cluster of three nodes on this machine."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from nodes import SCRIPT, Nodes


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """Three nodes with one processor each."""
    pytest.importorskip("ray")
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with subprocess.Popen(
        [sys.executable, SCRIPT],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        cluster = Nodes(process, process.stdout.readline().strip())
        for _ in range(2):
            cluster.ask("add 1")
        yield cluster
        process.stdin.close()
        process.wait(30)
