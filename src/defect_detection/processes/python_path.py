"""Let another Python process import the package that this one runs."""

import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def python_path() -> dict[str, str]:
    """Return the variable of the environment that gives a process this one's path.

    Another copy of the package is left out: MLflow puts that of a model it has loaded in front, and it can only inspect.
    """
    return {"PYTHONPATH": os.pathsep.join(one for one in sys.path if one and not _holds_another_copy(one))}


def _holds_another_copy(place: str) -> bool:
    """Say whether a folder or a zip file of the path contains another copy of this package."""
    found = PathFinder.find_spec(_PACKAGE.name, [place])
    if found is None or found.origin is None:
        return False
    return os.path.realpath(found.origin) != os.path.realpath(_PACKAGE / "__init__.py")
