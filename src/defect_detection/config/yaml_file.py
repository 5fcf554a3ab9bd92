"""Read a YAML file of settings strictly, with error messages for users."""

import difflib
import re
import typing
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from defect_detection.config.kinds import Expected
from defect_detection.errors import ConfigError
from defect_detection.files.permissions import regular

Model = TypeVar("Model", bound=BaseModel)
_NAMES = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")  # allowed types of a key
_MOST_VALUES = 10_000
PROBLEMS = (yaml.YAMLError, ValueError, RecursionError)  # ValueError: a date with month 13


def read_document(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds; an empty file is an empty mapping.

    Raises:
        ConfigError: no such file, not YAML, not a mapping, or a duplicate key.
    """
    try:
        content = regular(path).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); run the command in its folder, or name another file"
        ) from error
    return parse_document(content, path)


def parse_document(content: bytes | str, path: Path) -> dict[str, Any]:
    """Return the mapping that the content of a YAML file holds. Raises as `read_document`."""
    try:
        document = parse_value(content)  # YAML is UTF-8, or UTF-16 with its mark at the start
    except yaml.reader.ReaderError as error:
        raise ConfigError(
            f"{path}: expected text in UTF-8, received an invalid character ({error.reason}, at byte {error.position}); "
            "save the file again as UTF-8"
        ) from error
    except PROBLEMS as error:
        raise ConfigError(f"{path}: not valid YAML: {where_and_why(error)}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: expected keys with values, received {_shown(document)}")
    return document


def parse_value(text: str | bytes) -> Any:
    """Return a value in YAML. Raises one of `PROBLEMS`."""
    loader = _StrictLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _measure(node: yaml.Node, known: dict[int, int]) -> int:
    """Return the number of values of a node after expanding its aliases, without expanding them.

    Raises:
        ConstructorError: too many values, or an alias inside itself.
    """
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = _MOST_VALUES  # so much as is inside itself
    inside = node.value if isinstance(node, yaml.CollectionNode) else ()
    parts = [one for item in inside for one in (item if isinstance(item, tuple) else (item,))]
    known[id(node)] = size = 1 + sum(_measure(part, known) for part in parts)
    if size > _MOST_VALUES:
        problem = f"expected at most {_MOST_VALUES} values, received aliases (*name) that expand to more"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    return size


class _StrictLoader(yaml.SafeLoader):
    """Refuse duplicate keys (YAML loaders silently keep the last one), keys that are not names, and zero bytes."""

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        if isinstance(node, yaml.ScalarNode) and "\0" in node.value:
            problem = "expected a text without zero bytes (\\0)"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return super().construct_scalar(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag not in _NAMES:
                raise yaml.constructor.ConstructorError(
                    None, None, f"expected a name as the key, received {_kind(key)}", key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"duplicate key '{key.value}'", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _kind(key: yaml.Node) -> str:
    if isinstance(key, yaml.ScalarNode):
        return f"'{key.value}', which YAML reads as another type; put it into quotes"
    return "a list" if isinstance(key, yaml.SequenceNode) else "a mapping"


def where_and_why(error: Exception) -> str:
    """Say what is wrong with a text that is not YAML, and where."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return str(error)


def apply_overrides(document: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    """Set each ``dotted.key=value`` in the document and return the keys.

    A number in a key counts the entries of a list from 0.

    Raises:
        ConfigError: no ``=``, a value that isn't YAML, or a key below something that holds no keys.
    """
    return [_apply_override(document, override) for override in overrides]


def _apply_override(document: dict[str, Any], override: str) -> str:
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(f"override: expected key=value as in training.epochs=5, received '{override}'")
    try:
        value = parse_value(text)
    except PROBLEMS as error:
        raise ConfigError(f"override: {key}: not valid YAML: {where_and_why(error)}") from error
    *parents, last = key.split(".")
    node: Any = document
    for depth, name in enumerate([*parents, last]):
        place = _place(node, name, key)
        if depth == len(parents):
            node[place] = value
        else:
            if isinstance(node, dict) and node.get(place) is None:
                node[place] = {}
            node = node[place]
    return key


def _place(node: Any, name: str, key: str) -> str | int:
    if isinstance(node, dict):
        return name
    if isinstance(node, list) and name.isdigit() and int(name) < len(node):
        return int(name)
    expected = f"a number from 0 to {len(node) - 1}" if isinstance(node, list) else "no further key"
    raise ConfigError(f"override: {key}: expected {expected} where '{name}' is")


def fill_empty_sections(document: dict[str, Any], model: type[BaseModel]) -> None:
    """Replace a missing or empty section by its defaults."""
    for name, field in model.model_fields.items():
        if section_in(field.annotation) is field.annotation and document.get(name) is None:
            document[name] = {}


def validate(
    model: type[Model],
    document: dict[str, Any],
    path: Path,
    *,
    root: Path,
    overridden: Iterable[str] = (),
    source: str = "",
) -> Model:
    """Return the document as a checked model, its relative paths seen from `root`.

    Args:
        source: names the file in messages; its name when not given.

    Raises:
        ConfigError: lists every wrong key and value, one a line, each with what was expected.
    """
    try:
        return model.model_validate(document, context={"root": root})
    except ValidationError as error:
        problems = _innermost(error.errors())
        keys = tuple(overridden)
        lines = [
            f"{_origin(problem, keys, source or path.name)}: {_key_of(problem)}: {_explain(model, problem)}"
            for problem in problems
        ]
        by_key = {_key_of(problem): _explain(model, problem) for problem in problems}
        raise ConfigError("\n".join(lines), by_key) from error


def _innermost(problems: Sequence[Any]) -> list[Any]:
    """Leave out a list's problem that only follows from a problem inside it."""
    inside = {problem["loc"][:end] for problem in problems for end in range(len(problem["loc"]))}
    return [problem for problem in problems if problem["loc"] not in inside]


def _key_of(problem: Any) -> str:
    return ".".join(str(part) for part in problem["loc"])


def _origin(problem: Any, overridden: tuple[str, ...], file: str) -> str:
    """Name what has the wrong value. Where the keys of a section contradict each other, some may be overrides."""
    key = _key_of(problem)
    if any(f"{key}.".startswith(f"{other}.") for other in overridden):
        return "override"
    section = key.rpartition(".")[0] if problem["type"] == "missing" else key
    return f"override or {file}" if any(other.startswith(f"{section}.") for other in overridden) else file


def _explain(model: type[BaseModel], problem: Any) -> str:
    """Return what is said about a wrong value."""
    parts = problem["loc"]
    if problem["type"] == "extra_forbidden":
        return _unknown(_section(model, parts[:-1]), str(parts[-1]))
    expected = _expected(model, problem)
    if problem["type"] == "missing":
        return f"missing, expected {expected}"
    return f"expected {expected}{_received(model, problem)}"


def _received(model: type[BaseModel], problem: Any) -> str:
    field, value = _field(model, problem["loc"]), problem["input"]
    is_secret = field is not None and SecretStr in typing.get_args(field.annotation)
    is_told_already = problem["type"] == "value_error" and isinstance(value, dict | list)
    return "" if is_secret or is_told_already else f", received {_shown(value)}"


def did_you_mean(word: str, known: list[str]) -> str:
    """Return the end of a message about an unknown word: the most similar known word, or all of them."""
    folded = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), folded, n=1)
    return f", did you mean '{folded[close[0]]}'?" if close else f", expected one of: {', '.join(known)}"


def _unknown(section: type[BaseModel], key: str) -> str:
    removed = getattr(section, "removed", {})
    return (
        f"removed; {removed[key]}"
        if key in removed
        else f"unknown key{did_you_mean(key, list(section.model_fields))}"
    )


def _section(model: type[BaseModel], parts: Sequence[str | int]) -> type[BaseModel]:
    for part in parts:
        if isinstance(part, str):
            inner = section_in(model.model_fields[part].annotation)
            assert inner is not None  # only a section has keys to forbid
            model = inner
    return model


def _expected(model: type[BaseModel], problem: Any) -> str:
    reason = problem.get("ctx", {}).get("error")
    field = _field(model, problem["loc"])
    words = [str(item) for item in field.metadata if isinstance(item, Expected)] if field else []
    if problem["type"] == "value_error":
        return str(reason)
    if words:
        return words[0]
    is_section = field is not None and section_in(field.annotation) is not None
    return "keys with values" if is_section else str(problem["msg"])


def _field(model: type[BaseModel], parts: Sequence[str | int]) -> FieldInfo | None:
    """Return the field that a location ends at or lies in."""
    field: FieldInfo | None = None
    current: type[BaseModel] | None = model
    for part in parts:
        if isinstance(part, str) and current is not None and part in current.model_fields:
            field = current.model_fields[part]
            current = section_in(field.annotation)
    return field


def section_in(annotation: Any) -> type[BaseModel] | None:
    """Return the section that an annotation is, or is a list of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (section_in(argument) for argument in typing.get_args(annotation))
    return next((found for found in inner if found), None)


def _shown(value: Any) -> str:
    names = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return names[value]
    text = re.sub(r"://[^/@\s]+@", "://***@", repr(value))  # credentials
    return text if len(text) <= 60 else f"{text[:57]}..."
