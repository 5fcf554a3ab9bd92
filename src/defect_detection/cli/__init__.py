"""The command line. Each command reads the settings, calls one function, prints the result and names the next command."""

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

import typer

from defect_detection import __version__
from defect_detection.cli.app import DEFAULT_CONFIG, app
from defect_detection.errors import (
    EXIT_BUG,
    EXIT_ERROR,
    EXIT_PIPE,
    ConfigError,
    DataError,
    DefectDetectionError,
    NoModelError,
    explain,
)
from defect_detection.files.unfinished import own_temporary_folder
from defect_detection.processes.messages import failure, written
from defect_detection.text import printable_lines, set_up_streams

from defect_detection.cli import (  # noqa: F401  # isort: skip  they register their verbs
    project,
    products,
    data,
    training,
    evaluation,
    deployment,
    inspection,
    production,
    monitoring,
    server,
    records,
    backup,
)


@app.command(rich_help_panel="Start")
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: 0; of the gate also 1 and 2 (see `errors`); 3 for an error that the user can correct, such as a wrong command
        line or a full disk; 70 for a bug in this program; 130 for Ctrl-C; 141 if the output pipe was closed.
    """
    os.environ.setdefault(
        "TF_CPP_MIN_LOG_LEVEL", "3"
    )  # TensorFlow's own chatter; its errors come as exceptions
    set_up_streams()
    try:
        with own_temporary_folder():
            code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        return _code_of(error)
    return code


def _code_of(error: BaseException) -> int:
    """Print why the command ended, and return the exit code."""
    match error:
        case DefectDetectionError():
            return _refused(str(error), _hint(error))
        case KeyboardInterrupt() | typer.Abort():
            typer.echo("Stopped. No unfinished result was kept.", err=True)
            return 130
        case BrokenPipeError():  # the output pipe was closed, as by `| head`
            _drop_output()
            return EXIT_PIPE
        case OSError() if (said := explain(error)) is not None:
            _drop_output()
            return _refused(said)
        case _ if hasattr(error, "show") and hasattr(
            error, "exit_code"
        ):  # click's own errors show themselves
            error.show()
            return EXIT_ERROR
    traceback.print_exception(error)  # Python would exit with 1, which means HOLD
    return EXIT_BUG


def _run(arguments: list[str]) -> int:
    try:
        code = app(args=arguments, standalone_mode=False)
    except typer.Exit as stop:
        return stop.exit_code
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # rich ends so, with the code that means HOLD
            raise stop.__context__ from None
        raise
    return code if isinstance(code, int) else 0


def _hint(error: DefectDetectionError) -> str:
    """Return a hint for errors about settings, data or a missing model: no settings file was read."""
    if not isinstance(error, ConfigError | DataError | NoModelError) or DEFAULT_CONFIG.exists():
        return ""
    if any(one in ("-c", "--config") for one in sys.argv):
        return ""
    return "\n(This folder has no config.yaml, so the defaults apply; `defect init` writes one.)"


def _refused(message: str, hint: str = "") -> int:
    said = written(failure(f"{printable_lines(message)}{hint}"))
    typer.secho(said, err=True, fg="red" if sys.stderr.isatty() else None)
    return EXIT_ERROR


def _drop_output() -> None:
    """Discard output that can no longer be written, so Python does not report it at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        pass
    else:
        return
    with suppress(OSError, ValueError):  # no file behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
