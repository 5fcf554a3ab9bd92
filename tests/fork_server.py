"""A server that starts Python programs in processes that have their libraries already: importing them takes 6 s of processor time.

`python fork_server.py ADDRESS` is the server. It imports the libraries, computes nothing, and forks a process for each program, so
a program is a real process that can be killed and interrupted. Only the standard library is imported at the top: the program that
stands in for Python imports this module, too.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

PRELOADED = (
    "defect_detection.model.backend",
    "defect_detection.cli",
    "defect_detection.use_cases.train",
    "defect_detection.use_cases.evaluate",
    "defect_detection.retraining.cycle",
    "defect_detection.serving.app",
    "mlflow.tracking",
    "mlflow.store.tracking.sqlalchemy_store",
    "matplotlib.backends.backend_agg",
    "sklearn.metrics",
)
OF_THE_PRODUCT = (  # modules that import much
    "defect_detection.cli",
    "defect_detection.model.forms",
    "defect_detection.tracking.fetch",
)
STAND_IN = "STAND_IN_FOR_PYTHON"  # variable with the program that a forked program starts for Python
_LENGTH = 8  # bytes of a number


class Program:
    """A program that runs in the server: its process id, and later its exit code."""

    def __init__(
        self, address: str, arguments: list[str], folder: str, environment: dict[str, str], streams: list[int]
    ) -> None:
        self._connection = _connected(address)
        asked = {"arguments": arguments, "folder": folder, "environment": environment}
        message = json.dumps(asked).encode()
        socket.send_fds(self._connection, [len(message).to_bytes(_LENGTH, "big")], streams)
        self._connection.sendall(message)
        self.pid = _number(self._connection)
        self._code: int | None = None

    def is_running(self) -> bool:
        return self._code is None and not select.select([self._connection], [], [], 0)[0]

    def wait(self, limit_s: float | None = None) -> int:
        """Return the exit code; of a signal its negative number."""
        if self._code is None:
            self._connection.settimeout(limit_s)
            with self._connection:
                self._code = _number(self._connection)
        return self._code

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            if self._code is None:
                os.kill(self.pid, number)


def stand_in(address: str, python: str, *first_arguments: str) -> None:
    """Do as Python does with these arguments and those of this process: heavy programs run in the server, others in Python itself."""
    arguments = [*first_arguments, *sys.argv[1:]]
    what = arguments[0] if arguments else ""
    if not (what == "-c" or what.endswith(".py") or (what == "-m" and arguments[1] in OF_THE_PRODUCT)):
        os.execv(python, [python, *arguments])
    environment = os.environ | {STAND_IN: str(Path(sys.argv[0]).with_name("python"))}
    program = Program(address, arguments, str(Path.cwd()), environment, [0, 1, 2])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: program.send_signal(number))
    code = program.wait()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def serve(address: str) -> dict[str, Any]:
    """Serve until nobody holds a connection any more. Return only in the process of a program, with what was asked."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{address}.new")
    listener.listen(100)
    Path(f"{address}.new").rename(address)  # who finds it is let in
    os.environ["MLFLOW_LOGGING_LEVEL"] = (
        "CRITICAL"  # as a store sets it, which MLflow reads when it is imported
    )
    gc.disable()  # the imports make no garbage
    for name in PRELOADED:
        importlib.import_module(name)
    importlib.import_module("defect_detection.model.openvino").load_openvino()
    figures = importlib.import_module("defect_detection.report.figures")
    figures.DPI, figures.LAYOUT = 20, None  # type: ignore[attr-defined]  # as `drawn_once`: drawing is half of an evaluation
    importlib.import_module("defect_detection.use_cases.drawn_defects")._OF_EACH = 1  # type: ignore[attr-defined]
    gc.freeze()  # garbage collection would copy all that the libraries hold
    gc.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal, which is for the tests
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ended, noted = os.pipe()
    os.set_blocking(noted, False)
    signal.set_wakeup_fd(noted)
    running: dict[socket.socket, int] = {}  # the process of each connection; 0: it only holds the server
    had_one = False
    while running or not had_one:
        ready, _, _ = select.select([listener, ended, *running], [], [])
        if ended in ready:
            os.read(ended, 1000)
            _tell_who_ended(running)
        for connection in [one for one in ready if one in running]:  # whoever asked has gone
            if pid := running.pop(connection):
                _kill(pid)
            connection.close()
        if listener in ready:
            connection, _ = listener.accept()
            asked, streams = _question(connection)
            if asked is None:
                connection.close()
            elif not asked:
                running[connection], had_one = 0, True
            elif pid := os.fork():
                running[connection] = pid
                with suppress(OSError):  # whoever asked was killed meanwhile: the next look ends the program
                    connection.sendall(pid.to_bytes(_LENGTH, "big"))
                for stream in streams:
                    os.close(stream)
            else:
                signal.set_wakeup_fd(-1)
                for one in (listener, connection, *running):
                    one.close()
                _become(streams)
                return dict(asked)
    Path(address).unlink()
    os._exit(0)


def _question(connection: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """Return what is asked, and the streams of the program; None: whoever connected was killed before it had asked."""
    streams: list[int] = []
    try:
        length, streams, _, _ = socket.recv_fds(connection, _LENGTH, 3)
        if length:
            return json.loads(_received(connection, int.from_bytes(length, "big"))), streams
    except (EOFError, ConnectionError):
        for stream in streams:
            os.close(stream)
    return None, []


def hold(address: str) -> socket.socket:
    """Keep the server alive until the connection is closed."""
    connection = _connected(address)
    message = json.dumps({}).encode()
    connection.sendall(len(message).to_bytes(_LENGTH, "big") + message)
    return connection


def _tell_who_ended(running: dict[socket.socket, int]) -> None:
    by_pid = {pid: connection for connection, pid in running.items()}
    with suppress(ChildProcessError):  # there are no others
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = found
            if connection := by_pid.get(pid):
                del running[connection]
                code = os.waitstatus_to_exitcode(status)
                with suppress(OSError):  # nobody waits for it
                    connection.sendall(code.to_bytes(_LENGTH, "big", signed=True))
                connection.close()


def _kill(pid: int) -> None:
    for kill in (os.killpg, os.kill):  # it may not lead a group yet
        with suppress(ProcessLookupError):
            kill(pid, signal.SIGKILL)


def _become(streams: list[int]) -> None:
    """Leave all that was the server's: its session, its streams, its signals."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)


def run(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Run a program as Python does: ``-m module``, ``-c code`` or a file."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.executable = os.environ.pop(STAND_IN, sys.executable)
    _open_streams()
    path = [one for one in environment.get("PYTHONPATH", "").split(os.pathsep) if one]
    sys.path[:] = [*path, *sys.path[1:]]
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path.insert(0, folder)
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.path.insert(0, "")
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(arguments[0]).parent))
        runpy.run_path(arguments[0], run_name="__main__")


def end(code: int) -> None:
    """End as Python does, but leave the libraries to the system: to take them apart would first copy all that the server has."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _open_streams() -> None:
    buffering = 1 if os.environ.get("PYTHONUNBUFFERED") else -1
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  as long as the process
    sys.stdout = open(1, "w", buffering, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115


def _connected(address: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


def _number(connection: socket.socket) -> int:
    return int.from_bytes(_received(connection, _LENGTH), "big", signed=True)


def _received(connection: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length:
        part = connection.recv(length - len(found))
        if not part:
            raise EOFError("the fork server has ended")
        found += part
    return found


if __name__ == "__main__":
    try:
        run(**serve(sys.argv[1]))
    except SystemExit as ended:
        if not isinstance(ended.code, int | None):
            raise  # a text, which Python prints
        end(ended.code or 0)
    end(0)
