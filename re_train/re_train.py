"""Retrain with the settings of re_train.yaml beside this file: the same as ``defect retrain``."""

import sys
from pathlib import Path

from defect_detection.cli import main

if __name__ == "__main__":
    settings = Path(__file__).with_name("re_train.yaml")
    sys.exit(main(["retrain", "--settings", str(settings), *sys.argv[1:]]))
