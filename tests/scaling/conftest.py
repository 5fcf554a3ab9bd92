"""A cluster on this machine."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from forked import forks
from nodes import SCRIPT, START_WORKER, Nodes

import defect_detection


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A node with one processor; each test adds the one that dies."""
    pytest.importorskip("ray")
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    workers = tmp_path_factory.mktemp("workers")
    environment |= {"FORKS": forks(), "PACKAGE": defect_detection.__file__, "WORKERS": str(workers)}
    with subprocess.Popen(
        [sys.executable, SCRIPT, START_WORKER],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        yield Nodes(process, process.stdout.readline().strip(), workers)
        process.stdin.close()
        process.wait(30)
