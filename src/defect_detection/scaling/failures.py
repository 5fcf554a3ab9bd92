"""Say what went wrong on a cluster, and what helps."""

from typing import Any

from defect_detection.errors import ClusterError, DefectDetectionError, explain
from defect_detection.text import printable

_FULL = (
    "a node has no room left: free space on its disk, where Ray keeps its files (RAY_TMPDIR, else /tmp) and the cache lies, or "
    "give Ray a folder on another disk"
)


def failure_of(error: Any, kept: str) -> Any:
    """Return the error to raise instead of an error of Ray: the one from the node, if a user can correct it.

    Args:
        kept: what was not lost, and what to do next.
    """
    import ray

    cause = getattr(error, "cause", None) or error
    if isinstance(cause, DefectDetectionError):
        return cause
    if isinstance(cause, ray.exceptions.OutOfDiskError | ray.exceptions.ObjectStoreFullError):
        said: str | None = _FULL
    elif isinstance(cause, OSError):
        said = explain(cause) or printable(str(cause))
    elif isinstance(error, ray.exceptions.RayTaskError):
        return error  # a mistake of this program
    else:
        said = printable((str(error).strip().splitlines() or [type(error).__name__])[-1])
    return ClusterError(f"The cluster could not continue ({said}). {kept}")
