"""Read the environment variables of the process and of the ``.env`` beside the settings, once per configuration.

`Config` keeps what it needs of them as values, so nothing asks for `RESOLVED` later. The other variables of ``.env`` are for
MLflow and other libraries, which look into the process's environment: they are there until another project's settings are loaded.
"""

import os
import re
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from urllib.parse import quote

from dotenv import dotenv_values

from defect_detection.errors import ConfigError
from defect_detection.files.permissions import regular

OLDEST_POSTGRES = 13  # that this version, MLflow and their libraries are for
RESOLVED = ("MLFLOW_TRACKING_URI", "DATABASE_URL", "DEFECT_API_KEY")

_lent: dict[str, str] = {}  # variables set from the .env of the last project


def read_environment(root: Path) -> dict[str, str]:
    """Return the variables that count for the project in `root`; real ones win over those of its ``.env``."""
    for name, value in _lent.items():
        if os.environ.get(name) == value:
            del os.environ[name]
    _lent.clear()
    named = _read_file(root / ".env")
    environment = named | dict(os.environ)
    _lent.update({name: named[name] for name in named.keys() - os.environ.keys() - set(RESOLVED)})
    os.environ.update(_lent)
    return environment


def _read_file(path: Path) -> dict[str, str]:
    """Return the variables of a ``.env``; none where there is no such file.

    Raises:
        ConfigError: it can't be read, or it isn't UTF-8.
    """
    try:
        text = regular(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); rename it or correct its permissions"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: expected text in UTF-8, received an invalid byte (at byte {error.start}); save the file again as UTF-8"
        ) from error
    if "\0" in text:
        raise ConfigError(
            f"{path}: expected text in UTF-8, received zero bytes, as in UTF-16; save the file as UTF-8"
        )
    return {name: value for name, value in dotenv_values(stream=StringIO(text)).items() if value is not None}


def address_of(environment: Mapping[str, str], variable: str, root: Path, file: str) -> str:
    """Return the address that a variable names; when it names none, that of a SQLite file in `root`.

    The path of a relative ``sqlite:///`` address counts from `root`, wherever the process was started.
    """
    uri = environment.get(variable) or f"sqlite:///{file}"
    found = re.fullmatch(r"(sqlite(?:\+\w+)?:///)(?!:memory:|file:)([^?]+)(.*)", uri)
    return f"{found[1]}{(quoted(root) / found[2]).as_posix()}{found[3]}" if found else uri


def quoted(path: Path) -> Path:
    """Return a path as it is written in an address of SQLite, where ``?`` begins the options and ``%20`` means a blank."""
    return Path(re.sub(r"%(?=[0-9A-Fa-f]{2})|\?", lambda found: quote(found[0]), str(path)))


def why_too_old(server: tuple[int | str, ...] | None) -> str:
    """Say that a PostgreSQL server is of a version that isn't supported, or nothing."""
    if server is None or int(server[0]) >= OLDEST_POSTGRES:
        return ""
    version = ".".join(map(str, server))
    return f"expected PostgreSQL {OLDEST_POSTGRES} or later, received {version}. Update the server, or name another one"
