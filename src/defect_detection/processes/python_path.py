"""Let another Python process import the package that this one runs."""

import os
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def python_path() -> dict[str, str]:
    """Return the variable of the environment that gives a process this one's path.

    Another copy of the package is left out: MLflow puts that of a model it has loaded in front, and it can only inspect.
    """
    package = Path(__file__).parents[1].name
    others = [one for one in sys.path if Path(one, package).is_dir() and not Path(one).samefile(_ROOT)]
    return {"PYTHONPATH": os.pathsep.join(one for one in sys.path if one and one not in others)}
