"""Load OpenVINO without telemetry, and write its models."""

import errno
import os
import sys
from pathlib import Path
from typing import Any


def load_openvino() -> Any:
    """Import OpenVINO without its telemetry package, which reports each import to a web service by default.

    OpenVINO works without that package, which costs a third of the import's time. None says that it can't be imported.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def save_openvino(model: Any, path: Path) -> None:
    """Write an OpenVINO model as ``path`` (.xml) with its weights beside it (.bin), in full precision.

    Raises:
        OSError: the disk is full, of which OpenVINO says no more than "iostream error".
    """
    try:
        load_openvino().save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        if "iostream error" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path)) from error
