"""Write the findings of an audit as a self-contained page with thumbnails, and as JSON."""

import base64
import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from defect_detection.config import Config
from defect_detection.data.audit.catalogue import Severity
from defect_detection.data.audit.material import AuditEntry, Finding, Material
from defect_detection.data.cache import RowStore
from defect_detection.data.samples import Sample
from defect_detection.files.unfinished import write_text
from defect_detection.text import from_root, printable, utc_now

from .rendering import template

_SHOWN = 12  # entries of one finding on the page
_SHOWN_OF_ENTRY = 2  # images of one entry
_THUMBNAIL = 160  # px, a side
_BADGES = {
    Severity.BLOCKS: "blocks training",
    Severity.ALLOWED: "allowed",
    Severity.WARNING: "warning",
    Severity.NOTE: "note",
}


def write_audit(
    material: Material, findings: Sequence[Finding], said: Sequence[str], pixels: RowStore, config: Config
) -> dict[str, Path]:
    """Write ``audit.html`` and ``audit.json`` to ``report_dir``. Returns the two files by their ending.

    Args:
        said: how the folders were understood, in lines.
    """
    document = _document(material, findings, config) | {"understood": list(said)}
    page = _render(document, findings, _Thumbnails(material.samples, pixels), config.root)
    files = {"html": config.report_dir / "audit.html", "json": config.report_dir / "audit.json"}
    config.report_dir.mkdir(parents=True, exist_ok=True)
    write_text(files["html"], page)
    write_text(files["json"], json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return files


def _document(material: Material, findings: Sequence[Finding], config: Config) -> dict[str, Any]:
    sides = ("train", config.data.train_dir, material.train), ("test", config.data.test_dir, material.test)
    return {
        "created": utc_now(),
        "allow_leakage": config.data.allow_leakage,
        "allow_shortcuts": config.data.allow_shortcuts,
        "blocks_training": any(finding.severity is Severity.BLOCKS for finding in findings),
        "labels_compared_with_scores": any(sample.sha256 in material.scores for sample in material.train),
        "folders": [_side(*side) for side in sides],
        "findings": [_as_json(finding) for finding in findings],
    }


def _side(name: str, folder: Path, samples: Sequence[Sample]) -> dict[str, Any]:
    defective = sum(sample.label for sample in samples)
    types = sorted({sample.defect_type for sample in samples if sample.defect_type})
    return {
        "name": name,
        "folder": printable(folder),
        "images": len(samples),
        "defective": defective,
        "types": ", ".join(types),
    }


def _as_json(finding: Finding) -> dict[str, Any]:
    kind = finding.kind
    return {
        "kind": kind.name,
        "severity": finding.severity.value,
        "title": kind.title,
        "summary": finding.summary,
        "meaning": kind.meaning,
        "advice": kind.advice,
        "entries": [
            {"paths": [printable(path) for path in entry.paths], "text": entry.text}
            for entry in finding.entries
        ],
    }


def _render(
    document: Mapping[str, Any], findings: Sequence[Finding], thumbnails: "_Thumbnails", root: Path
) -> str:
    shown = [_on_page(finding, thumbnails, root) for finding in findings]
    return template("audit.html.j2").render(
        created=document["created"],
        sides=document["folders"],
        understood=document["understood"],
        has_scores=document["labels_compared_with_scores"],
        findings=shown,
        badges=_BADGES,
        headline=_headline(findings),
        lede=_lede(findings),
    )


def _headline(findings: Sequence[Finding]) -> str:
    severities = {finding.severity for finding in findings}
    if Severity.BLOCKS in severities:
        return "Training refuses this data"
    if Severity.ALLOWED in severities:
        return "Train and test share images, which the settings allow"
    if Severity.WARNING in severities:
        return "This data can be used for training; check the warnings first"
    return "This data can be used for training"


def _lede(findings: Sequence[Finding]) -> str:
    titles = [finding.kind.title for finding in findings if finding.severity is not Severity.NOTE]
    return (
        "; ".join([*titles[:1], *(title[0].lower() + title[1:] for title in titles[1:])]) + "."
        if titles
        else ""
    )


def _on_page(finding: Finding, thumbnails: "_Thumbnails", root: Path) -> dict[str, Any]:
    shown = [_entry_on_page(entry, thumbnails, root) for entry in finding.entries[:_SHOWN]]
    return _as_json(finding) | {
        "kind": finding.kind.name,
        "shown": shown,
        "total": len(finding.entries),
        "is_paired": any(len(entry.paths) > 1 for entry in finding.entries),
    }


def _entry_on_page(entry: AuditEntry, thumbnails: "_Thumbnails", root: Path) -> dict[str, Any]:
    images = [
        {
            "path": printable(from_root(path, root)),
            "url": thumbnails.url(path),
        }
        for path in entry.paths[:_SHOWN_OF_ENTRY]
    ]
    return {"images": images, "text": entry.text, "more": len(entry.paths) - len(images)}


class _Thumbnails:
    """Images as data URLs, by path, without unreadable images."""

    def __init__(self, samples: Sequence[Sample], pixels: RowStore) -> None:
        self._contents = {sample.path: sample.sha256 for sample in samples}
        self._pixels = pixels

    def url(self, path: Path) -> str | None:
        if path not in self._contents:
            return None
        image = Image.fromarray(self._pixels.rows([self._contents[path]])[0])
        image.thumbnail((_THUMBNAIL, _THUMBNAIL))
        buffer = BytesIO()
        image.save(buffer, format="JPEG", quality=82)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
