"""Retrain with the settings of re_train.yaml beside this file: the same as ``defect retrain``."""

import os
import sys
from pathlib import Path

# The package, where it is not installed; the processes that it starts find it too.
SOURCE = str(Path(__file__).resolve().parent.parent / "src")
sys.path.append(SOURCE)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), SOURCE)))

from defect_detection.cli import main  # noqa: E402

if __name__ == "__main__":
    settings = Path(__file__).with_name("re_train.yaml")
    sys.exit(main(["retrain", "--settings", str(settings), *sys.argv[1:]]))
