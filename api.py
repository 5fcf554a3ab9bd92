"""Serve the HTTP API on the address of config.yaml: the same as ``defect serve``."""

import sys

from defect_detection.cli import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
