"""Serve the HTTP API on the address of config.yaml: the same as ``defect serve``."""

import os
import sys
from pathlib import Path

# The package, where it is not installed; the processes that it starts find it too.
SOURCE = str(Path(__file__).resolve().parent / "src")
sys.path.append(SOURCE)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), SOURCE)))

from defect_detection.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
