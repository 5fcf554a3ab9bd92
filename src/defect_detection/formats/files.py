"""Open the files of other tools: JSON, XML and YAML from anywhere, and images that must lie in the folder."""

import json
import math
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml

from defect_detection.errors import DataError

Kind = TypeVar("Kind")
_ADDRESS = re.compile(
    r"(^|[/\\\\])[A-Za-z][A-Za-z0-9+.-]+:/"
)  # such as https:/, which a path has of https://
_MOST_PIXELS = 1e12
_MOST_BYTES = 1 << 30  # of an annotation file
_KINDS: dict[type, str] = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}


def text_of(path: Path) -> str:
    """Return a file's text, in UTF-8. Raises `DataError`."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(
                f"{path}: expected at most {_MOST_BYTES >> 20} MiB; export fewer images at a time"
            )
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected text in UTF-8, received other bytes at {error.start}") from error


def json_of(path: Path) -> Any:
    """Return the content of a JSON file. Raises `DataError`."""
    try:
        return json.loads(text_of(path), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected JSON, received something else ({error})") from error


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def yaml_of(path: Path) -> dict[Any, Any]:
    """Return the mapping in a YAML file. Aliases, which can expand without end, are refused. Raises `DataError`."""
    text = text_of(path)
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise DataError(f"{path}: expected YAML without aliases (*name); write the values out")
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected YAML, received something else ({error})") from error
    return of_kind(found, dict, str(path))


def xml_of(path: Path) -> Any:
    """Return the root element of an XML file. Entities and document types, which can expand without end, are refused.

    Raises:
        DataError: not XML, an entity in it, or the library for XML is not installed.
    """
    try:
        from defusedxml import ElementTree, common
    except ImportError as error:
        raise DataError(
            "XML files need the package defusedxml; install it with: pip install 'defect-detection[formats]'"
        ) from error
    text = text_of(path)
    try:
        return ElementTree.fromstring(text.encode(), forbid_dtd=True)
    except common.DefusedXmlException as error:
        raise DataError(
            f"{path}: expected XML without a document type and without entities, received {type(error).__name__}; remove the "
            "lines <!DOCTYPE …> and <!ENTITY …>"
        ) from error
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected XML, received something else ({error})") from error


def of_kind(value: object, kind: type[Kind], where: str) -> Kind:
    """Return a value of the kind that is expected. Raises `DataError`."""
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(f"{where}: expected {_KINDS[kind]}, received {_shown(value)}")
    return value


def child(value: dict[str, Any], key: str, kind: type[Kind], where: str) -> Kind:
    """Return the value of a key. Raises `DataError` where it is missing or of another kind."""
    if key not in value:
        raise DataError(
            f"{where}: expected the key '{key}', received only {', '.join(map(str, list(value)[:8])) or 'none'}"
        )
    return of_kind(value[key], kind, f"{where}.{key}")


def number(value: object, where: str) -> float:
    """Return a finite number, also from a text such as XML has. Raises `DataError`."""
    try:
        found = (
            float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
        )
    except (ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise DataError(f"{where}: expected a number, received {_shown(value)}")
    return found


def numbers(values: Iterable[object], where: str) -> list[float]:
    return [number(one, f"{where}[{place}]") for place, one in enumerate(values)]


def put(source: Path, target: Path) -> None:
    """Copy a file into a folder, which is made if it is missing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _shown(value: object) -> str:
    return "nothing" if value is None else repr(value)[:60]


def whole_numbers(values: Iterable[object], where: str) -> np.ndarray:
    """Return counts of pixels, int64. Raises `DataError` where they are no numbers, or beyond any image."""
    found = np.array(numbers(values, where), np.float64)
    if (np.abs(found) > _MOST_PIXELS).any():
        raise DataError(f"{where}: expected counts of pixels, received {np.abs(found).max():g}")
    return found.astype(np.int64)


def size_of(width: object, height: object, where: str) -> tuple[int, int] | None:
    """Return a size as it is stated, (width, height); None where it is not. Raises `DataError`."""
    if width is None or height is None:
        return None
    return int(number(width, f"{where}.width")), int(number(height, f"{where}.height"))


def image_in(root: Path, names: Iterable[str | Path], where: str) -> Path:
    """Return the first of the files that exists in the folder of the data set.

    Args:
        names: relative to `root`, in the order of trust.

    Raises:
        DataError: none exists, or a name is an address or leaves the folder.
    """
    real = Path(os.path.realpath(root))
    names = list(names)
    for name in names:
        if _ADDRESS.search(str(name)):
            raise DataError(
                f"{where}: expected a file below {root}, received the address {name!s:.80}; download it first"
            )
        path = Path(os.path.realpath(real / name)) if "\0" not in str(name) else real / "\ufffd"
        if not path.is_relative_to(real):
            raise DataError(
                f"{where}: expected a file below {root}, received {name!s:.80}, which leaves that folder"
            )
        if path.is_file():
            return root / path.relative_to(real)
    raise DataError(
        f"{where}: no such file: {names[0]} (looked below {root}); export the images too, or copy them there"
    )
