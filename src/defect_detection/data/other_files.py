"""Classify files that are not images: side files, or files that a person should convert or unpack."""

from collections.abc import Container
from pathlib import Path

from defect_detection.data.image_formats import HEAD_BYTES, IMAGE_SUFFIXES, format_of


def _endings(text: str) -> frozenset[str]:
    return frozenset(f".{one}" for one in text.split())


_SIDE = _endings(
    "csv tsv txt md rst log json jsonl xml yaml yml toml ini cfg conf properties html htm css js py ipynb m r sh bat ps1 md5 sha1 "
    "sha256 doc docx xls xlsx odt ods rtf license"
)
_ARCHIVES = _endings("zip rar 7z tar gz tgz bz2 tbz xz txz zst lz4 cab iso dmg")
_UNFINISHED = _endings("part partial filepart crdownload download tmp temp !ut opdownload")
# Raw camera images begin like a TIFF, and a TIFF decoder would find only their thumbnail.
_RAW = _endings("dng nef nrw cr2 cr3 arw srf sr2 pef orf rw2 raf srw iiq 3fr erf kdc dcr mos")

CONVERT = "not a JPEG, PNG, BMP, TIFF or WebP image; convert it to PNG or JPEG"
OVERLAY_ENDINGS = (".ok.png", ".defective.png", ".review.png")  # of those that an inspection writes
OVERLAY_NOTE = ("Comment", "Overlay of defect inspect")  # in their header

UNPACK = "an archive; unpack it"
FINISH = "an unfinished copy; complete or remove it"


def is_image(path: Path) -> bool:
    """Check whether a file is an image, by its extension or its first bytes.

    A file with an image extension and other content counts as an image; the decoder then reports the error.

    Raises:
        OSError: it can't be opened.
    """
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return True
    return suffix not in _UNFINISHED and suffix not in _RAW and format_of(_head(path)) is not None


def is_overlay(path: Path) -> bool:
    """Check whether a file is an overlay of an inspection, which is not a camera image."""
    note = "\0".join(OVERLAY_NOTE).encode()
    return path.name.endswith(OVERLAY_ENDINGS) and note in _head(path, 4 * HEAD_BYTES)


def is_side_file(path: Path) -> bool:
    """Check whether a file is a side file: notes, labels, scripts, or any text without an extension."""
    suffix = path.suffix.lower()
    return suffix in _SIDE or (not suffix and not any(byte < 9 for byte in _head(path)))


def is_side_name(name: str) -> bool:
    """Check by its name whether a file is a side file."""
    return Path(name).suffix.lower() in _SIDE


def what_to_do(path: Path) -> str:
    """Describe a file that is neither an image nor a side file, with advice."""
    advice: tuple[tuple[Container[str], str], ...] = ((_ARCHIVES, UNPACK), (_UNFINISHED, FINISH))
    return next((text for suffixes, text in advice if path.suffix.lower() in suffixes), CONVERT)


def _head(path: Path, size: int = HEAD_BYTES) -> bytes:
    with path.open("rb") as file:
        return file.read(size)
