"""Inspect the golden images of a bundle in a process of its own: ``python -m defect_detection.inference.golden BUNDLE``.

They are fitted into the model's input already, so they are passed as arrays. One JSON object per line is printed.
"""

import json
import sys
from pathlib import Path

from defect_detection.inference.inspect import Inspector
from defect_detection.model.bundle import read_golden


def lines(bundle: Path) -> list[str]:
    """Return the inspection of each golden image as JSON, in order."""
    images, _ = read_golden(bundle)
    return [json.dumps(one.to_json()) for one in Inspector.load(bundle).inspect(images)]


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in lines(Path(sys.argv[1]))))
