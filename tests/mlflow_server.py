"""A real ``mlflow server`` on a free port of this machine, over SQLite, and the environment that such programs get."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from forked import python
from waiting import LIMIT_S

from benchmarks.ports import free_port
from defect_detection.tracking import store

# `mlflow server` starts uvicorn in another process, which imports all again.
IN_ONE_PROCESS = """
import os
from mlflow import server
from mlflow.cli import cli

def run(command, extra_env, **_):
    os.environ.update(extra_env)
    from uvicorn.main import main
    main(command[3:])

server._exec_cmd = run
cli()
"""


@pytest.fixture(scope="session")
def plain_environment() -> dict[str, str]:
    """What a user's shell has, in an activated environment: without the marks of a test or of CI, at which
    MLflow changes its ways."""
    marks = ("PYTEST_", "MLFLOW_", "CI", "GITHUB_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(marks)}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"}


@contextmanager
def mlflow_server(folder: Path, environment: dict[str, str], artifacts: str | None = None) -> Iterator[str]:
    """Keep a server in the folder during the block, and give its address. artifacts: the address of its files, if not there too."""
    store._make_store(folder / "server.db")  # here it is a copy, which spares the server a second or two
    port = free_port()
    command = [python(), "-c", IN_ONE_PROCESS, "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--workers", "1"]
    command += ["--allowed-hosts", f"127.0.0.1:{port}"]
    command += ["--artifacts-destination", artifacts or str(folder / "artifacts")]
    environment = {**environment, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with running(command, f"http://127.0.0.1:{port}/health", environment, folder):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def running(command: list[str], url: str, environment: dict[str, str], folder: Path) -> Iterator[None]:
    """Start a server, wait until it answers at `url`, and end it with its workers after the block."""
    log = folder / "log.txt"
    with log.open("w") as file:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=file, stderr=file, start_new_session=True
        )
    try:
        wait_for(url, server, log)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=LIMIT_S)


def wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the server doesn't answer:\n{log.read_text()}")
