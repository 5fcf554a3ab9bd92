"""Write docs/report.schema.json, the JSON schema of report.json: ``python scripts/report_schema.py``."""

import json
from pathlib import Path

from defect_detection.report.report import report_schema

PLACE = Path(__file__).parents[1] / "docs/report.schema.json"


if __name__ == "__main__":
    PLACE.write_text(json.dumps(report_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
