"""Load OpenVINO without telemetry."""

import sys
from typing import Any


def load_openvino() -> Any:
    """Import OpenVINO without its telemetry package, which reports each import to a web service by default.

    OpenVINO works without that package, which costs a third of the import's time. None says that it can't be imported.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino
