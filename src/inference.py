"""Inspect images with what is in production: the same as ``defect inspect``."""

import sys

from defect_detection.cli import main

if __name__ == "__main__":
    sys.exit(main(["inspect", *sys.argv[1:]]))
