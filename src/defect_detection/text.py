"""Handle text at the edges of the program: printable file names, and UTF-8 in all streams and files.

A file name may hold any byte and any character: a line break, an escape sequence of the terminal, bytes that are not UTF-8
(Python keeps those as lone surrogates, which no encoder takes). Such a character is shown as ``\\x1b``.
"""

import html
import io
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

_SURROGATES = re.compile("[\ud800-\udfff]")
# Control characters, line separators, and bidirectional marks.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# Regular expression class [...] of characters that no line may contain: databases, CSV readers and terminals treat them differently.
CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
_CONTROL = re.compile(f"[{CONTROLS}]")
# What a spreadsheet takes for the start of a formula, in either width. Apostrophes before it are those of `cell`.
_FORMULA = re.compile("'*[=+@\t\r\uff0b\uff0d\uff1d\uff20-]")
# What Markdown reads as markup inside a line. An underscore between letters is none.
_MARKUP = re.compile(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])")


def from_root(path: Path, root: Path) -> Path:
    """Return a path as seen from a folder, where it lies below it; else as it is."""
    return path.relative_to(root) if path.is_relative_to(root) else path


def absolute_path(path: Path) -> str:
    """Return a path from the root of the file system without "..", as text. Links stay as they are."""
    return os.path.normpath(path.absolute())


def utc_now() -> str:
    """Return this moment in UTC to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def printable(name: object) -> str:
    """Return a name, such as a path, as one line that can be shown and encoded anywhere."""
    text = str(name)
    return text if text.isprintable() else _UNPRINTABLE.sub(_escaped, text)


def printable_lines(text: object) -> str:
    """Return a message of several lines, each of them printable."""
    return "\n".join(printable(line) for line in str(text).split("\n"))


def plain(text: str) -> str:
    """Return a text as one line without control characters and outer blanks; the words between them stay separate."""
    return " ".join(_CONTROL.sub(" ", text).split()) if _CONTROL.search(text) else text.strip()


def has_control(text: str) -> bool:
    """Check whether a text contains control characters or line breaks."""
    return _CONTROL.search(text) is not None


def cell(text: str) -> str:
    """Return a text for a cell of CSV. What a spreadsheet would take for a formula gets an apostrophe, which `of_cell` takes away."""
    return f"'{text}" if _FORMULA.match(text) else text


def of_cell(text: str) -> str:
    """Return the text that `cell` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def encodable(text: object) -> str:
    """Return a text, whose line breaks stay, without what UTF-8 can't hold."""
    return _SURROGATES.sub(_escaped, str(text))


def markdown(text: object) -> str:
    """Return a text that Markdown shows as it is, such as the names of files in the lines of a summary."""
    return _MARKUP.sub(r"\\\g<0>", html.escape(str(text), quote=False))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte that wasn't UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def set_up_streams() -> None:
    """Let standard output and standard error take any character, whatever the system's encoding is.

    What goes to a file or a pipe is UTF-8. A terminal keeps its encoding; what that lacks is shown as an escape.
    What goes to a stream that was closed before the start (``>&-``, a service without output) is dropped.
    """
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  as long as the process
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")
