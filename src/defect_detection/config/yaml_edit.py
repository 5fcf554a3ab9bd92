"""Change the text of a YAML file and leave its comments as they are."""

import json
from collections.abc import Collection, Sequence

import yaml


def decode(text: bytes) -> str:
    """Return the text of a YAML file: UTF-8, or UTF-16 with its mark at the start."""
    return text.decode("utf-16" if text[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")


def with_value(text: bytes, key: str, value: str) -> bytes | None:
    """Return a YAML text with another value for a dotted key, and nothing else changed; None where it has no such key."""
    decoded = decode(text)
    node = yaml.compose(decoded, Loader=yaml.SafeLoader)
    for name in key.split("."):
        entries = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((inner for outer, inner in entries if outer.value == name), None)
    if node is None:
        return None
    return f"{decoded[: node.start_mark.index]}{json.dumps(value)}{decoded[node.end_mark.index :]}".encode()


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
