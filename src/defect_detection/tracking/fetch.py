"""Fetch the bundle of a version. If that needs mlflow, a separate process runs it, so its memory is released at the end.

``python -m defect_detection.tracking.fetch`` is that process: it reads what to fetch as JSON from its standard input and
writes the folder as JSON.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from defect_detection.errors import EXIT_ERROR, DefectDetectionError, TrackingError, explain
from defect_detection.processes.ending import NICENESS
from defect_detection.processes.messages import READ_BY_A_PROGRAM, error_of, failure, written
from defect_detection.tracking.reading import ModelRef
from defect_detection.tracking.registry import Registry

TIMEOUT_S = 600


def fetch_apart(reference: ModelRef, tracking_uri: str, cache_dir: Path) -> Path:
    """Do as `Registry.bundle_of` without ever importing mlflow into this process.

    Raises:
        TrackingError: the files can't be fetched.
    """
    registry = Registry(tracking_uri)
    if registry.brought(reference, cache_dir):
        try:
            return registry.bundle_of(reference, cache_dir)
        except OSError as error:
            raise TrackingError(_not_kept(reference, error)) from error
    wanted = {"tracking_uri": tracking_uri, "cache_dir": str(cache_dir), "reference": asdict(reference)}
    command = [sys.executable, "-m", "defect_detection.tracking.fetch"]
    try:
        done = subprocess.run(  # noqa: S603  our own module
            command,
            env=os.environ | READ_BY_A_PROGRAM,
            input=json.dumps(wanted),
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise TrackingError(f"{reference}: not downloaded within {TIMEOUT_S} s") from error
    if done.returncode != 0:
        raise TrackingError(error_of(done.stderr) or f"{reference}: the download failed")
    return Path(json.loads(done.stdout.splitlines()[-1])["folder"])


def _not_kept(reference: ModelRef, error: OSError) -> str:
    return f"{reference}: {explain(error) or error}"


def main() -> None:
    """Fetch the version given on standard input, at lower priority, and print its folder."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    wanted = json.load(sys.stdin)
    try:
        folder = Registry(wanted["tracking_uri"]).bundle_of(
            ModelRef(**wanted["reference"]), Path(wanted["cache_dir"])
        )
    except DefectDetectionError as error:
        print(written(failure(str(error))), file=sys.stderr)
        raise SystemExit(EXIT_ERROR) from error
    except OSError as error:
        print(written(failure(_not_kept(ModelRef(**wanted["reference"]), error))), file=sys.stderr)
        raise SystemExit(EXIT_ERROR) from error
    print(json.dumps({"folder": str(folder)}))


if __name__ == "__main__":
    main()
