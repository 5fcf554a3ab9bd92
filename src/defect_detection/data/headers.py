"""Read the properties of an image file without decoding it: format, size, quality, camera, day."""

import hashlib
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import ExifTags, Image

from defect_detection.data.bounded import bounded
from defect_detection.data.bounds import DEFAULT_LIMITS, Limits
from defect_detection.data.cache import RowStore
from defect_detection.data.decoders import open_image
from defect_detection.data.samples import Sample
from defect_detection.errors import ImageError

_VERSION = 2  # raise it when a property changes
_ROW_BYTES = 1024
_LONGEST = 48  # characters of a value
_DEPTHS = {"1": "1", "I": "16", "F": "32"}
_PRIVATE = 0x8769  # EXIF directory of the camera's data


def headers_of(samples: Sequence[Sample], cache_dir: Path) -> list[dict[str, str]]:
    """Return the properties of each file by name; none of a file that can't be read.

    Args:
        cache_dir: the properties are cached in its folder ``headers``, by content.
    """
    store = RowStore(cache_dir / "headers" / f"v{_VERSION}", (_ROW_BYTES,), np.uint8)
    by_content = {sample.sha256: sample.path for sample in samples}
    missing = store.missing(by_content)
    with ThreadPoolExecutor() as threads:
        rows = list(threads.map(lambda key: _row(_properties(by_content[key])), missing))
    if rows:
        store.append(missing, np.stack(rows))
    known = {key: _parsed(row) for key, row in zip(by_content, store.rows(list(by_content)), strict=True)}
    return [known[sample.sha256] for sample in samples]


def _row(properties: dict[str, str]) -> np.ndarray:
    return np.frombuffer(json.dumps(properties).encode().ljust(_ROW_BYTES)[:_ROW_BYTES], np.uint8)


def _parsed(row: np.ndarray) -> dict[str, str]:
    try:
        parsed: dict[str, str] = json.loads(row.tobytes())
    except ValueError:  # cut off: a header of very many characters that JSON escapes
        return {}
    return parsed


def _properties(path: Path) -> dict[str, str]:
    try:
        return bounded(_read, "header", path, DEFAULT_LIMITS)
    except ImageError:
        return {}


def _read(_source: Path | bytes, file: IO[bytes], _limits: Limits) -> dict[str, str]:
    try:
        with open_image(file) as image:
            said = _said(image)
    except (OSError, ValueError, KeyError, TypeError, SyntaxError, EOFError):
        return {}
    texts = {name: re.sub(r"\s+", " ", str(value)).strip("\0 ")[:_LONGEST] for name, value in said.items()}
    return {name: text for name, text in texts.items() if text}


def _said(image: Any) -> dict[str, object]:
    info = image.info
    # Asked for EXIF data that its head does not hold, a PNG decodes everything.
    exif = image.getexif() if image.format != "PNG" or "exif" in info else Image.Exif()
    private = exif.get_ifd(_PRIVATE) if exif else {}
    base = ExifTags.Base
    depth = "16" if image.mode.startswith("I;16") else _DEPTHS.get(image.mode, "8")
    profile = info.get("icc_profile")
    tables = getattr(image, "quantization", None)
    day = private.get(base.DateTimeOriginal) or exif.get(base.DateTime) or ""
    return {
        "file format": image.format,
        "image size": f"{image.width} x {image.height}",
        "colour mode": image.mode,
        "bit depth": depth,
        "JPEG quality": _quality(tables) if tables else "",
        "JPEG coding": _coding(image) if tables else "",
        "compression": info.get("compression") or "",
        "resolution": info.get("dpi") or "",
        "colour profile": _short(profile) if profile else "",
        "camera": f"{exif.get(base.Make, '')} {exif.get(base.Model, '')}",
        "software": exif.get(base.Software) or info.get("Software") or "",
        "EXIF orientation": exif.get(base.Orientation) or "",
        "capture day": str(day)[:10],
    }


def _quality(tables: dict[int, Sequence[int]]) -> str:
    """Return the mean quantisation step, which decreases with quality, and the tables."""
    return f"mean step {np.mean([*tables.values()]):.2f} (tables {_short(sorted(tables.items()))})"


def _coding(image: Any) -> str:
    """Return the subsampling of the channels and the coding order."""
    sampling = ", ".join(f"{wide}x{high}" for _, wide, high, _ in getattr(image, "layer", ()))
    return f"sampling {sampling}{', progressive' if image.info.get('progressive') else ''}"


def _short(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:8]
