"""Evaluate, register and promote the best model: the same as ``defect evaluate``."""

import sys

from defect_detection.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
