"""Verify that a model folder is unchanged since registration, by the SHA-256 of every file, including the card.

The list of a folder's files and their sha256 is its seal. It is kept outside of the folder, as a tag of the registered version,
and its digest in the ledger. Inside the folder the card carries a checksum of itself, which shows a change where no registry is.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any, Never

from defect_detection.errors import BundleError
from defect_detection.files.permissions import regular

SEAL_TAG = "bundle_files"  # of a registered version
CURE = (
    "Roll back (`defect rollback`), or train and register again. If only the copy of this machine below cache_dir was "
    "changed, `defect cache clear models` deletes it, so it is fetched again"
)


def checksum(path: Path) -> str:
    with regular(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(folder: Path) -> str:
    """Return the sha256 of each file of the folder as one line of JSON."""
    files = {path.relative_to(folder).as_posix(): checksum(path) for path in _files(folder)}
    return json.dumps(files, sort_keys=True)


def digest(text: str | None) -> str:
    """Return the SHA-256 of a seal; "" without a seal, as for models of earlier versions."""
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


def require_sealed(folder: Path, text: str | None, model: str) -> None:
    """Compare a folder with the seal that it was registered with. Without one, nothing is compared.

    Raises:
        BundleError: a file was changed, removed or added.
    """
    if not text:
        return
    try:
        found = seal(folder)
    except OSError as error:  # such as a pipe
        raise BundleError(f"{error.filename or folder}: cannot be read ({error.strerror}). {CURE}") from error
    if text == found:
        return
    expected, received = _parsed(text, model), json.loads(found)
    name = next(n for n in sorted({*expected, *received}) if expected.get(n) != received.get(n))
    raise BundleError(
        f"{folder / name}: changed since {model} was registered: expected {_brief(expected.get(name))}, received "
        f"{_brief(received.get(name))}. {CURE}"
    )


def card_checksum(values: dict[str, Any]) -> str:
    """Return the sha256 of a card's values, without the card's own checksum."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def finite_json(text: str) -> Any:
    """Parse JSON whose numbers are all finite.

    Raises:
        ValueError: it isn't JSON, is nested too deeply, or a number is NaN or infinite.
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


def _parsed(text: str, model: str) -> dict[str, str]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise BundleError(
            f"{model}: its tag {SEAL_TAG} in the registry is not a list of files, so its files cannot be verified. {CURE}"
        ) from error


def _brief(sha256: str | None) -> str:
    return f"sha256 {sha256[:16]}…" if sha256 else "no such file"


def _refuse(name: str) -> Never:
    raise ValueError(f"expected finite numbers, received {name}")


def _finite(text: str) -> float:
    return value if math.isfinite(value := float(text)) else _refuse(text)
