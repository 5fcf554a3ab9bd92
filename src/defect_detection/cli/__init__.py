"""The command line: each verb reads the configuration, calls one function, and says what came out and what to run next."""

import os
import sys
from collections.abc import Sequence

import typer

from defect_detection import __version__
from defect_detection.cli import (  # noqa: F401  they register their verbs
    data,
    evaluation,
    inspection,
    production,
    training,
)
from defect_detection.cli.app import app
from defect_detection.errors import EXIT_ERROR, DefectDetectionError


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb. Returns the exit code: 0, 2 for a wrong command line, 3 for an error that the user can mend, 130 for Ctrl-C."""
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
    except Exception as error:  # click's own errors show themselves
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            error.show()
            return int(error.exit_code)
        raise
    return code if isinstance(code, int) else 0
