"""Run a function in a process of its own that has its libraries already: importing Keras and MLflow takes 5 s of processor time.

The first child starts multiprocessing's fork server. It imports the libraries, computes nothing, and forks each child, so a child
is a real process that can be killed and interrupted. A test whose subject is the start itself starts Python instead.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from waiting import LIMIT_S

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "defect_detection.model.backend",
        "defect_detection.cli",
        "defect_detection.use_cases.train",
        "defect_detection.use_cases.evaluate",
        "mlflow.tracking",
        "matplotlib.backends.backend_agg",
        "openvino",
        "sklearn.metrics",
    ]
)


@dataclass(frozen=True)
class Child:
    """A running child. Both of its streams are written to `log`."""

    process: ForkServerProcess
    log: Path

    def ended(self) -> int:
        """Wait for the end, and return the exit code; of a signal its negative number."""
        self.process.join(LIMIT_S)
        assert self.process.exitcode is not None, self.said()
        return self.process.exitcode

    def said(self) -> str:
        return self.log.read_text()


def fork(folder: Path, function: Callable[..., object], *arguments: object) -> Child:
    """Call the function of a module in a child that works in the folder, with the environment of this moment."""
    log = folder / "child.log"
    process = _CONTEXT.Process(target=_run, args=(folder, log, _environment(), function, arguments))
    process.start()
    return Child(process, log)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


def _run(
    folder: Path, log: Path, environment: dict[str, str], function: Callable[..., object], arguments: tuple
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.exit(function(*arguments))
