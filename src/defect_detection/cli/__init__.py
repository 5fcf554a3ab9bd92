"""The command line: each verb reads the configuration, calls one function, and says what came out and what to run next."""

import os
import sys
import traceback
from collections.abc import Sequence

import typer

from defect_detection import __version__
from defect_detection.cli import (  # noqa: F401  they register their verbs
    audit,
    data,
    evaluation,
    export,
    inspection,
    production,
    records,
    selfcheck,
    training,
)
from defect_detection.cli.app import app
from defect_detection.errors import EXIT_BUG, EXIT_ERROR, DefectDetectionError


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb.

    Returns:
        The exit code: 0; of the gate also 1 and 2 (see `errors`); 3 for an error that the user can mend, such as a wrong
        command line; 70 for a mistake of this program; 130 for Ctrl-C.
    """
    os.environ.setdefault(
        "TF_CPP_MIN_LOG_LEVEL", "3"
    )  # TensorFlow's own chatter; its errors come as exceptions
    try:
        code = app(args=list(sys.argv[1:] if argv is None else argv), standalone_mode=False)
    except DefectDetectionError as error:
        typer.secho(f"Error: {error}", err=True, fg="red" if sys.stderr.isatty() else None)
        return EXIT_ERROR
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("Stopped. Nothing half-done was kept.", err=True)
        return 130
    except typer.Exit as stop:
        return stop.exit_code
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # click's own errors show themselves
            error.show()
            return EXIT_ERROR
        traceback.print_exc()  # Python would exit with 1, which means HOLD
        return EXIT_BUG
    return code if isinstance(code, int) else 0
