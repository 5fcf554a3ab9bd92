"""Read what was done to the images of a product: the lines of the audit trail, and the findings of the latest audit."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from defect_detection.files.trail import read_trail
from defect_detection.text import printable
from defect_detection.use_cases.product_images import ProductImages

COLUMNS = ("when", "who", "what", "on", "before", "after")
AUDIT = "audit.json"  # in report_dir: `report/audit_page.py` writes it


@dataclass(frozen=True, slots=True)
class FoundImages:
    """The images of one kind of finding, as they are named now."""

    kind: str
    title: str
    advice: str
    files: tuple[str, ...]


def changes_of(images: ProductImages) -> Iterator[tuple[str, ...]]:
    """Yield the values of `COLUMNS` for each change of an image of the product, the oldest first."""
    product = images.config.product
    for line in read_trail(images.config.plant):
        if line.get("product") == product and str(line.get("what", "")).startswith("image "):
            yield tuple(str(line.get(name, "")) for name in COLUMNS)


def findings_of(images: ProductImages) -> tuple[str | None, list[FoundImages]]:
    """Return when the data were audited last, and which images of today were found. None: there is no audit yet."""
    config = images.config
    try:
        said = json.loads((config.report_dir / AUDIT).read_text(encoding="utf-8"))
        by_path = {printable(images.path(one)): one.file for one in images.listed().images.values()}
        return said["created"], [found for one in said["findings"] if (found := _found(one, by_path)).files]
    except (OSError, ValueError, KeyError, TypeError):
        return None, []


def _found(said: dict[str, object], by_path: dict[str, str]) -> FoundImages:
    entries = said["entries"]
    assert isinstance(entries, list)
    paths = [path for entry in entries for path in entry["paths"]]
    files = tuple(dict.fromkeys(by_path[path] for path in paths if path in by_path))
    return FoundImages(str(said["kind"]), str(said["title"]), str(said["advice"]), files)
