"""Fetch a version's bundle from an MLflow server that hands out its files, without mlflow: importing it takes seconds.

The names of the files are those of the version's seal. Whatever is unexpected here is left to MLflow, which reports errors in detail.
"""

import json
import shutil
from http.client import HTTPException
from pathlib import Path, PurePosixPath

from defect_detection.tracking.reading import ModelRef
from defect_detection.tracking.rest import ask, download

_HANDED_OUT = "mlflow-artifacts:/"  # the server fetches the files from its own storage


class IndirectError(Exception):
    """Only MLflow can fetch the files."""


def fetched_directly(tracking_uri: str, reference: ModelRef, source: str, folder: Path) -> Path:
    """Put the files of a version into a new folder, and return it.

    Args:
        source: the folder of the files below the version's location.

    Raises:
        IndirectError: the server does not hand them out, or an error came up. Nothing is left.
    """
    try:
        names = _names(reference.seal)
        place = _place(tracking_uri, reference)
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            download(tracking_uri, f"{place}/{source}/{name}", path)
    except (OSError, HTTPException, LookupError, ValueError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise IndirectError from error
    return folder


def _names(seal: str | None) -> list[str]:
    """Return the names of the files in a seal.

    Raises:
        LookupError: there is none, or a file would lie outside of the folder. ValueError: it is not JSON.
    """
    names = json.loads(seal or "{}")
    if (
        not names
        or not isinstance(names, dict)
        or any({"..", "/", ""} & {name, *PurePosixPath(name).parts} or "\\" in name for name in names)
    ):
        raise LookupError("no names of files")
    return list(names)


def _place(tracking_uri: str, reference: ModelRef) -> str:
    """Return where a server has the files, as it names it.

    Raises:
        OSError, HTTPException, ValueError: no MLflow server answers. LookupError: it does not hand them out.
    """
    answer = ask(
        tracking_uri, "model-versions/get-download-uri", name=reference.name, version=reference.version
    )
    location = str((answer or {})["artifact_uri"])
    path = location.removeprefix(_HANDED_OUT)
    if path == location or path.startswith("/"):
        raise LookupError(location)
    return path.rstrip("/")
