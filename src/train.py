"""Train one model per hyperparameter set: the same as ``defect train``."""

import sys

from defect_detection.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
