"""Copy files and SQLite databases that others may be writing, and keep the SHA-256 of what was copied as ``sha256sum`` does."""

import hashlib
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from defect_detection.errors import BackupError, explain_sqlite
from defect_detection.files.permissions import make_private

SUMS = "SHA256SUMS"  # of the files of a folder, in it
_BLOCK = 1024 * 1024  # bytes
_BUSY_S = 20.0
_LEFT_OUT = (".unfinished-", "__pycache__")


def copy_file(source: Path, target: Path) -> str:
    """Copy a file with its permissions and times, and return the SHA-256 of the bytes that were read.

    Raises:
        OSError: one of the two can't be used, or the target exists.
    """
    make_private(target.parent)
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        while block := reader.read(_BLOCK):
            digest.update(block)
            writer.write(block)
    shutil.copystat(source, target)
    return digest.hexdigest()


def copy_database(source: Path, target: Path) -> None:
    """Copy one state of a SQLite file, however much is written to it meanwhile. Its writers do not wait.

    Raises:
        BackupError: the file can't be read, or is damaged.
    """
    address = f"{source.as_uri()}?mode=ro"
    try:
        with (
            closing(sqlite3.connect(address, uri=True, timeout=_BUSY_S)) as there,
            closing(sqlite3.connect(target)) as here,
        ):
            there.backup(here)
            here.execute("PRAGMA journal_mode = DELETE")  # one file, without journals beside it
            if (found := here.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(f"malformed ({found})")
    except sqlite3.Error as error:
        raise BackupError(f"{source}: cannot be copied: {error}. {explain_sqlite(str(error))}") from error
    shutil.copymode(source, target)


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder, without locks and what is unfinished; none where there is no folder."""
    for path in sorted(folder.rglob("*")):
        names = path.relative_to(folder).parts
        if (
            path.suffix != ".lock"
            and not any(name.startswith(_LEFT_OUT) for name in names)
            and path.is_file()
        ):
            yield path


def write_sums(path: Path, sums: Mapping[str, str]) -> None:
    """Write the SHA-256 of files by their names, in the form that ``sha256sum -c`` reads."""
    lines = (_line(name, sums[name]) for name in sorted(sums))
    path.write_bytes("".join(lines).encode(errors="surrogateescape"))


def read_sums(path: Path) -> dict[str, str]:
    """Read what `write_sums` wrote.

    Raises:
        ValueError: a line is no SHA-256 with a name. OSError: the file can't be read.
    """
    text = path.read_bytes().decode(errors="surrogateescape")
    return dict(_parsed(line) for line in text.split("\n") if line)


def _line(name: str, digest: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n")
    mark = "" if escaped == name else "\\"
    return f"{mark}{digest}  {escaped}\n"


def _parsed(line: str) -> tuple[str, str]:
    digest, gap, name = line.removeprefix("\\").partition("  ")
    if not gap or len(digest) != 64:
        raise ValueError(f"expected a SHA-256 and a name, received {line[:80]!r}")
    if line.startswith("\\"):
        name = "\\".join(part.replace("\\n", "\n") for part in name.split("\\\\"))
    return name, digest
