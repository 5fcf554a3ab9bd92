"""Change the text of a YAML file and leave its comments as they are."""

import json
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import yaml


def decode(text: bytes) -> str:
    """Return the text of a YAML file: UTF-8, or UTF-16 with its mark at the start."""
    return text.decode("utf-16" if text[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")


def with_value(text: bytes, key: str, value: str) -> bytes | None:
    """Return a YAML text with another value for a dotted key, and nothing else changed; None where it has no such key."""
    decoded = decode(text)
    place = _place_of(_composed(decoded), key.split("."))
    if place.missing or place.node is None:
        return None
    return f"{decoded[: place.node.start_mark.index]}{json.dumps(value)}{decoded[place.node.end_mark.index :]}".encode()


@dataclass(frozen=True, slots=True)
class _KeyPlace:
    """Where a key is in a YAML text. name: of the last one that is there; missing: the names behind it that are not.

    node: its value; None: there is nothing but comments.
    """

    name: yaml.Node | None
    node: yaml.Node | None
    missing: Sequence[str]


def written_values(text: str, keys: Collection[str]) -> dict[str, str]:
    """Return the values of those dotted keys that are there as they are written, comments included, from the first column on."""
    root = _composed(text)
    found = {key: _written(text, _place_of(root, key.split("."))) for key in keys}
    return {key: value for key, value in found.items() if value is not None}


def _written(text: str, place: _KeyPlace) -> str | None:
    if place.missing or place.node is None:
        return None
    end = _end(place.node)
    if _is_block(place.node) and place.name is not None:
        return textwrap.dedent(text[text.index("\n", place.name.end_mark.index) + 1 : end])
    return text[place.node.start_mark.index : end]


def with_written(text: str, key: str, written: str) -> str:
    """Return a YAML text with a value for a dotted key, which is added where it is missing. All comments around it stay.

    Args:
        written: the value in YAML; one of several lines begins in the first column.

    Raises:
        ValueError: the file has an alias there, or another construct that has no place for it.
    """
    place = _place_of(_composed(text), key.split("."))
    newline = "\r\n" if "\r\n" in text else "\n"
    if place.missing:
        return _added(text, place, written, newline)
    assert place.node is not None
    name, node = place.name, place.node
    if name is not None and node.start_mark.index < name.end_mark.index:
        raise ValueError(f"{key} repeats another value (*alias)")
    begin, column = (text.index(":", name.end_mark.index) + 1, name.start_mark.column) if name else (0, 0)
    behind = text[begin : text.index("\n", begin)].rstrip() if _is_block(node) and name else ""
    end, lines = max(_end(node), begin), written.splitlines()
    if len(lines) <= 1:
        return f"{text[:begin]} {written}{behind}{text[end:]}"
    block = "".join(f"{newline}{' ' * (column + 2)}{line}".rstrip(" ") for line in lines)
    return f"{text[:begin]}{behind}{block}{text[end:]}"


def _is_block(node: yaml.Node) -> bool:
    return isinstance(node, yaml.CollectionNode) and not node.flow_style


def _composed(text: str) -> yaml.Node | None:
    node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    return node


def _place_of(node: yaml.Node | None, names: Sequence[str]) -> _KeyPlace:
    """Return where the names lead from a node, as far as they are there."""
    name = None
    for depth, wanted in enumerate(names):
        entries = node.value if isinstance(node, yaml.MappingNode) else []
        found = next(((outer, inner) for outer, inner in entries if outer.value == wanted), None)
        if found is None:
            return _KeyPlace(name, node, names[depth:])
        name, node = found
    return _KeyPlace(name, node, ())


def _end(node: yaml.Node) -> int:
    """Return where a value ends: a block of YAML also spans the comments behind it."""
    if isinstance(node, yaml.CollectionNode) and _is_block(node) and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _added(text: str, place: _KeyPlace, written: str, newline: str) -> str:
    """Add the missing names to the mapping that is there."""
    node, (first, *further) = place.node, place.missing
    if len(written.splitlines()) > 1:
        written = yaml.safe_dump(yaml.safe_load(written), default_flow_style=True, width=10_000).strip()
    for name in reversed(further):
        written = f"{{{name}: {written}}}"
    line = f"{first}: {written}"
    if isinstance(node, yaml.MappingNode) and node.flow_style:
        at = _end(node) - 1
        return f"{text[:at].rstrip()}{', ' if node.value else ''}{line}{text[at:]}"
    if isinstance(node, yaml.MappingNode) and node.value:
        at, column = _end(node), node.value[0][0].start_mark.column
        at = next((i for i in range(at, len(text)) if text[i] in "\r\n"), len(text))
        return f"{text[:at]}{newline}{' ' * column}{line}{text[at:]}"
    if place.name is None:
        gap = "" if not text or text.endswith("\n") else newline
        return f"{text}{gap}{line}{newline}"
    at = text.index(":", place.name.end_mark.index) + 1
    end = max(at, _end(node)) if node is not None else at
    return f"{text[:at]} {{{line}}}{text[end:]}"


def without_sections(text: str, names: Collection[str]) -> str:
    """Return a YAML text without keys of its first level, each with the comments in front of it."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    entries = node.value if isinstance(node, yaml.MappingNode) else []
    lines = text.splitlines(keepends=True)
    starts = [key.start_mark.line for key, _ in entries]
    if len(set(starts)) < len(starts) or (
        isinstance(node, yaml.MappingNode) and node.flow_style
    ):  # several keys in one line
        kept = {name: value for name, value in yaml.safe_load(text).items() if name not in names}
        return str(yaml.safe_dump(kept, sort_keys=False, allow_unicode=True))
    begins = [_after_comments(lines, start) for start in starts]
    ends = [*begins[1:], len(lines)]
    left_out = [
        range(a, b) for (key, _), a, b in zip(entries, begins, ends, strict=True) if key.value in names
    ]
    return "".join(line for place, line in enumerate(lines) if not any(place in gone for gone in left_out))


def _after_comments(lines: Sequence[str], start: int) -> int:
    """Return the first of the lines of comments, and empty lines, right before a line."""
    while start and (not lines[start - 1].strip() or lines[start - 1].startswith("#")):
        start -= 1
    return start
