"""Run a function, or a program, in a process of its own that has its libraries already: see `fork_server`.

All processes of a test run share one server. A test whose subject is the start itself starts Python instead.
"""

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import fork_server
from filelock import FileLock
from waiting import LIMIT_S, wait_until

CALL = "import base64, pickle, sys; sys.path[:] = {path}; call, given = pickle.loads(base64.b64decode({call})); sys.exit(call(*given))"
STAND_IN = "#!{python} -SE\nimport sys\nsys.path.insert(0, {tests})\nfrom fork_server import stand_in\nstand_in(*{arguments})\n"
# Of a user's other projects: the server imports Keras with them, see tests/model/test_backend.py.
SETTINGS_OF_OTHERS = {
    "image_data_format": "channels_first",
    "floatx": "float16",
    "backend": "torch",
    "epsilon": 0.5,
}
VARIABLES_OF_OTHERS = {"TF_USE_LEGACY_KERAS": "1", "KERAS_MAX_EPOCHS": "1"}
STANDING_IN = {"python": (), "defect": ("-m", "defect_detection.cli")}  # with their first arguments


@dataclass(frozen=True)
class Child:
    """A running child. Both of its streams are written to `log`."""

    program: fork_server.Program
    log: Path

    def is_alive(self) -> bool:
        return self.program.is_running()

    def interrupt(self) -> None:
        self.program.send_signal(signal.SIGINT)

    def kill(self) -> None:
        self.program.send_signal(signal.SIGKILL)

    def ended(self) -> int:
        """Wait for the end, and return the exit code; of a signal its negative number."""
        return self.program.wait(LIMIT_S)

    def said(self) -> str:
        return self.log.read_text()


class _Server:
    """The server of a test run. The first process that needs it starts it; it ends when none holds it any more."""

    def __init__(self, folder: Path) -> None:
        self.address, self.python = str(folder / "forks"), folder / "python"
        self.log, self._keras_home = folder / "forks.log", folder / "keras-of-others"
        self._held: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self._held is None:
            with FileLock(f"{self.address}.lock"):
                try:
                    self._held = fork_server.hold(self.address)
                except OSError:  # nobody has started it
                    self._held = self._start()

    def _start(self) -> socket.socket:
        for left in (self.address, f"{self.address}.new"):
            Path(left).unlink(missing_ok=True)
        self._write_stand_ins()
        self._keras_home.mkdir(exist_ok=True)
        (self._keras_home / "keras.json").write_text(json.dumps(SETTINGS_OF_OTHERS))
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, fork_server.__file__, self.address],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=os.environ | VARIABLES_OF_OTHERS | {"KERAS_HOME": str(self._keras_home)},
            )
        wait_until(lambda: Path(self.address).exists() or self._process.poll() is not None)
        return fork_server.hold(self.address)

    def _write_stand_ins(self) -> None:
        for name, first_arguments in STANDING_IN.items():
            arguments = (self.address, sys.executable, *first_arguments)
            tests = repr(str(Path(__file__).parent))
            file = self.python.with_name(name)
            file.write_text(STAND_IN.format(python=sys.executable, tests=tests, arguments=arguments))
            file.chmod(0o755)

    def stop(self) -> None:
        if self._held is not None:
            self._held.close()
        if self._process is not None:
            self._process.wait(LIMIT_S)


_of_this_run: list[_Server] = []


@contextmanager
def fork_server_in(folder: Path) -> Iterator[None]:
    """Keep the server of this test run, whose files are in the folder, until the end of the block."""
    _of_this_run.append(_Server(folder))
    yield
    _of_this_run.pop().stop()


def fork(folder: Path, function: Callable[..., object], *arguments: object) -> Child:
    """Call the function of a module in a child that works in the folder, with the environment of this moment."""
    log = folder / "child.log"
    code = CALL.format(path=repr(sys.path), call=repr(b64encode(pickle.dumps((function, arguments)))))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    with log.open("wb") as file, Path(os.devnull).open("rb") as nothing:
        streams = [nothing.fileno(), file.fileno(), file.fileno()]
        asked = ["-c", code], str(folder), environment, streams
        return Child(fork_server.Program(_started().address, *asked), log)


def python() -> str:
    """Return a program that stands in for Python: `fork_server` runs what is asked of it, where that imports much.

    The program `defect` beside it stands in for the command.
    """
    return str(_started().python)


def said_while_importing() -> str:
    """Return what the server, and so its libraries, wrote to standard error before any child."""
    return _started().log.read_text()


def forks() -> str:
    """Return the address of the server, for a `fork_server.Program` in another process."""
    return _started().address


def _started() -> _Server:
    (server,) = _of_this_run
    server.start()
    return server
