"""Read the environment once for each configuration: the process's variables, and those of the ``.env`` beside the settings.

`Config` keeps what it needs of them as values, so nothing asks for `RESOLVED` later. The other variables of ``.env`` are for
MLflow and other libraries, which look into the process's environment: they are there until another project's settings are loaded.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

RESOLVED = ("MLFLOW_TRACKING_URI", "DATABASE_URL", "DEFECT_API_KEY")

_lent: dict[str, str] = {}  # what the last project's .env has put into the process's environment


def read_environment(root: Path) -> dict[str, str]:
    """Return the variables that count for the project in `root`; real ones win over those of its ``.env``."""
    for name, value in _lent.items():
        if os.environ.get(name) == value:
            del os.environ[name]
    _lent.clear()
    named = {name: value for name, value in dotenv_values(root / ".env").items() if value is not None}
    environment = named | dict(os.environ)
    _lent.update({name: named[name] for name in named.keys() - os.environ.keys() - set(RESOLVED)})
    os.environ.update(_lent)
    return environment


def address_of(environment: Mapping[str, str], variable: str, root: Path, file: str) -> str:
    """Return the address that a variable names; when it names none, that of a SQLite file in `root`.

    The path of a relative ``sqlite:///`` address counts from `root`, wherever the process was started.
    """
    uri = environment.get(variable) or f"sqlite:///{file}"
    found = re.fullmatch(r"(sqlite(?:\+\w+)?:///)(?!:memory:|file:)([^?]+)(.*)", uri)
    return f"{found[1]}{(root / found[2]).as_posix()}{found[3]}" if found else uri
