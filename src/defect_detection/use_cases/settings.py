"""Read and change the settings of a product: only what changes is written, and each change is in the audit trail."""

import copy
import difflib
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic.fields import FieldInfo

from defect_detection.config import Config
from defect_detection.config.form import Part, form_of, in_yaml, is_optional, keys_of, kind_of, value_in
from defect_detection.config.load import check_document
from defect_detection.config.yaml_edit import decode, with_written
from defect_detection.config.yaml_file import PROBLEMS, parse_document, parse_value, where_and_why
from defect_detection.errors import BusyError, ConfigError
from defect_detection.files.trail import leave
from defect_detection.files.unfinished import whole_file

_LOCK = ".settings.lock"  # beside the file
_WAIT_S = 10.0
Entered = bool | str | float | None


@dataclass(frozen=True, slots=True)
class Stored:
    """The settings in a file. digest: SHA-256 of the file, which a change names."""

    digest: str
    parts: list[Part]


@dataclass(frozen=True, slots=True)
class EnteredChange:
    """What a person entered for a key, and what the form had shown before."""

    before: Entered
    after: Entered


class SettingsChangedError(BusyError):
    """Another change came first: the file is no longer what the form was made from."""


def read_form(config: Config) -> Stored:
    """Return the settings of a product as its file has them now.

    Raises:
        ConfigError: the file can't be read.
    """
    content = _content(config.file)
    document = parse_document(content, config.file)
    return Stored(_digest(content), form_of(config, decode(content), document))


def change_settings(config: Config, digest: str, changes: Mapping[str, EnteredChange], by: str) -> list[str]:
    """Write what changes into the file of a product, whole or not at all. Return the keys that changed.

    Args:
        digest: of the file that the form was made from. by: for the audit trail.

    Raises:
        SettingsChangedError: the file is another one now. ConfigError: a key or a value is wrong; `by_key` says which.
    """
    with _alone(config.file):
        content = _content(config.file)
        text, document = decode(content), parse_document(content, config.file)
        if _digest(content) != digest:
            raise SettingsChangedError(_told(config, text, document, changes))
        written = _entered(config, changes)
        new, expected = _edited(config, text, document, written)
        changed = [key for key in written if value_in(document, key) != value_in(expected, key)]
        if not changed:
            return []
        _check(config, new, expected)
        told = {
            key: " → ".join(_shown(value_in(one, key)) for one in (document, expected)) for key in changed
        }
        try:
            with _replaced(
                config.file, new
            ):  # a process that is killed here leaves no change without its line
                _tell(config, by, "setting changed", told)
        except OSError as error:  # such as a file that a container mounts by itself
            _tell(config, by, "setting not changed", dict.fromkeys(told, error.strerror or str(error)))
            raise
    return changed


def _tell(config: Config, by: str, what: str, outcomes: Mapping[str, str]) -> None:
    for key, outcome in outcomes.items():
        leave(config.plant, by, what, f"{config.product}: {key}", outcome)


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Lock the file against other changes during the block."""
    try:
        with FileLock(file.with_name(_LOCK), timeout=_WAIT_S):
            yield
    except Timeout as error:
        raise BusyError(f"{file}: somebody else is changing it; try again") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be changed ({error.strerror}); nothing was changed") from error


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:  # all settings have their defaults
        return b""
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _told(config: Config, text: str, document: dict[str, Any], changes: Mapping[str, EnteredChange]) -> str:
    """Say what others changed of what this change is about."""
    now = {key.key: key.value for part in form_of(config, text, document) for key in part.keys}
    differs = [key for key in changes if key in now and now[key] != changes[key].before]
    other = [f"{key} is {_readable(now[key])} now" for key in differs]
    what = "; ".join(other) if other else "other settings than these were changed"
    return f"The settings were changed by somebody else since this form was opened: {what}. Check the values, and save again."


def _entered(config: Config, changes: Mapping[str, EnteredChange]) -> dict[str, str]:
    """Return what to write for each key, in YAML.

    Raises:
        ConfigError: a key is unknown, or a value can't be read.
    """
    known, wrong, written = keys_of(config), {}, {}
    for key, change in changes.items():
        if key not in known:
            meant = difflib.get_close_matches(key, known, n=1)
            wrong[key] = (
                f"unknown key{f', did you mean {meant[0]!r}?' if meant else '; GET /settings lists the keys'}"
            )
            continue
        try:
            written[key] = _in_yaml(change.after, known[key])
        except PROBLEMS as error:
            wrong[key] = f"not valid YAML: {where_and_why(error)}"
    if wrong:
        raise ConfigError(
            "\n".join(f"{config.file.name}: {key}: {said}" for key, said in wrong.items()), wrong
        )
    return written


def _in_yaml(entered: Entered, field: FieldInfo) -> str:
    """Return what a person entered in YAML. An empty field is null, where the key takes null."""
    kind, _ = kind_of(field)
    if kind == "yes or no" or not isinstance(entered, str):
        return in_yaml(entered)
    entered.encode()  # half a character is no text
    if not entered.strip() and (kind == "yaml" or is_optional(field)):
        return "null"
    if kind == "number":
        return in_yaml(_number(entered.strip()))
    if kind != "yaml":
        return in_yaml(entered)
    value, raw = parse_value(entered), entered.strip("\n")
    is_block = isinstance(value, dict | list) and raw.strip()[:1] not in ("[", "{")
    return in_yaml(value) if is_block and "\n" not in raw else raw


def _number(entered: str) -> int | float | str:
    """Return a number as it was meant, or the text, which is then refused."""
    for kind in (int, float):
        try:
            return kind(entered)
        except ValueError:
            continue
    return entered


def _edited(
    config: Config, text: str, document: dict[str, Any], written: Mapping[str, str]
) -> tuple[str, dict[str, Any]]:
    """Return the new text, and the document that it should hold.

    Raises:
        ConfigError: the file is written in a way that leaves no place for a value.
    """
    expected = copy.deepcopy(document)
    for key, value in written.items():
        *parents, last = key.split(".")
        node = expected
        for name in parents:
            node[name] = node.get(name) or {}
            node = node[name]
        try:
            node[last] = parse_value(value)
            text = with_written(text, key, value)
        except PROBLEMS as error:
            said = f"the file has no place for this value ({where_and_why(error)}); edit it by hand"
            raise ConfigError(f"{config.file.name}: {key}: {said}", {key: said}) from error
    return text, expected


def _check(config: Config, text: str, expected: dict[str, Any]) -> None:
    """Refuse a text that does not hold what it should, or settings that are wrong."""
    if parse_document(text, config.file) != expected:
        raise ConfigError(
            f"{config.file}: the form cannot write into this file without changing more; edit it by hand"
        )
    check_document(config, copy.deepcopy(expected))


@contextmanager
def _replaced(file: Path, text: str) -> Iterator[None]:
    """Replace the file after the block, for which the new text is written already."""
    file = file.resolve()  # a link stays one
    mode = file.stat().st_mode & 0o777 if file.exists() else None
    with whole_file(file) as partial:
        partial.write_text(text, encoding="utf-8", newline="")
        if mode is not None:
            partial.chmod(mode)
        yield


def _shown(value: Any) -> str:
    return _readable(in_yaml(value))


def _readable(value: bool | str) -> str:
    """Return a value of the form without credentials."""
    text = in_yaml(value) if isinstance(value, bool) else value or "empty"
    return re.sub(r"://[^/@\s]+@", "://***@", text)
