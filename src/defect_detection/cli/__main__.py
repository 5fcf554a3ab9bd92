"""``python -m defect_detection.cli`` is ``defect``."""

import sys

from defect_detection.cli import main

if __name__ == "__main__":
    sys.exit(main())
