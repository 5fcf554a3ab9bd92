"""The manifest: one line for each image that a training used, so that two trainings can be compared."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from defect_detection.errors import DataError

NAME = "manifest.jsonl"
_HEAD = {"manifest": 1}  # the format; raise it when a field goes away or changes its meaning


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One image.

    file: as seen from the project's folder. label: ok or defective. part: "" when the image is its own.
    split: train, validation or test; "" if unknown. source: the setting that names its folder. findings: kinds of the data audit.
    """

    sha256: str
    file: str
    label: str
    types: tuple[str, ...] = ()
    part: str = ""
    split: str = ""
    source: str = ""
    findings: tuple[str, ...] = ()


_NAMES = tuple(one.name for one in fields(ManifestEntry))
_TEXTS = {*_NAMES} - {"types", "findings"}


@dataclass(frozen=True)
class Manifest:
    """The images of one training. text: the file's content."""

    text: str

    @classmethod
    def of(cls, entries: Iterable[ManifestEntry]) -> "Manifest":
        ordered = sorted(entries, key=lambda one: (one.split, one.file, one.sha256))
        rows = ({name: getattr(one, name) for name in _NAMES} for one in ordered)
        lines = [json.dumps(one) for one in (_HEAD, *rows)]
        return cls("".join(f"{line}\n" for line in lines))

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def entries(self, name: object) -> list[ManifestEntry]:
        """Return the images.

        Args:
            name: of the manifest, for messages.

        Raises:
            DataError: it is no manifest, or a line is damaged. Names the line.
        """
        lines = self.text.splitlines()
        if not lines or _parsed(lines[0]) != _HEAD:
            raise DataError(
                f"{name}: expected a data manifest (first line {json.dumps(_HEAD)}), received something else; name the "
                f"{NAME} of a training, a model version, or a folder of images"
            )
        return [_entry(line, f"{name}: line {number}") for number, line in enumerate(lines[1:], 2)]


def read_manifest(content: bytes, name: object) -> Manifest:
    """Return the manifest in a file's content. Raises `DataError` where it is not text."""
    try:
        return Manifest(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name}: expected a data manifest, received a file that is not UTF-8 text"
        ) from error


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _entry(line: str, where: str) -> ManifestEntry:
    said = _parsed(line)
    if not isinstance(said, dict) or not _is_entry(said):
        raise DataError(
            f"{where}: expected an object with {', '.join(_NAMES)}, received {line[:60]!r}; "
            "the manifest is damaged: copy it again"
        )
    known: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in said.items()
    }
    return ManifestEntry(**known)


def _is_entry(said: dict[str, Any]) -> bool:
    lists: Sequence[Any] = [said.get(name) for name in {*_NAMES} - _TEXTS]
    return (
        said.keys() == {*_NAMES}
        and all(isinstance(said[name], str) for name in _TEXTS)
        and all(isinstance(one, list) and all(isinstance(name, str) for name in one) for one in lists)
    )
