"""Draw docs/images/example.png: defective sample parts, and below each its evidence map, from a finished `make demo`."""

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from defect_detection.data.images import read_image
from defect_detection.inference.inspect import Inspector
from defect_detection.report.figures import overlay

DEMO = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("demo")
SIZE, GAP, COLUMNS = 160, 6, 6


def main() -> None:
    inspector = Inspector.load(DEMO / "temp_best_model")
    with (DEMO / "data" / "index.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["file"].startswith("test/") and row["defect_type"]]
    strongest = {}
    inspections = inspector.inspect([DEMO / "data" / row["file"] for row in rows])
    for row, inspection in zip(rows, inspections, strict=True):
        kind = row["defect_type"]
        if kind not in strongest or (inspection.score or 0) > (strongest[kind].score or 0):
            strongest[kind] = inspection
    columns = []
    for inspection in list(strongest.values())[:COLUMNS]:
        image = read_image(Path(inspection.path), (SIZE, SIZE))
        evidence = np.asarray(inspection.evidence)
        gap = np.full((GAP, SIZE, 3), 255, np.uint8)
        shown = overlay(image, evidence, (float(np.median(evidence)), float(evidence.max())))
        columns += [np.concatenate([image, gap, shown]), np.full((2 * SIZE + GAP, GAP, 3), 255, np.uint8)]
    Image.fromarray(np.concatenate(columns[:-1], axis=1)).save("docs/images/example.png", optimize=True)


if __name__ == "__main__":
    main()
