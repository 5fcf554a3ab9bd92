"""Find what is to be inspected, and cut it into shards: paths, objects of a bucket, or rows of Parquet files."""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from defect_detection.data.image_formats import IMAGE_SUFFIXES
from defect_detection.data.walk import find_images
from defect_detection.errors import DataError
from defect_detection.scaling.parquet_columns import ImageTable, look_at
from defect_detection.scaling.storage import absolute, is_url, listed
from defect_detection.text import encodable, printable

Item = TypeVar("Item")

_LEAST, _MOST = 16, 2048  # images of a shard


@dataclass(frozen=True)
class Shard:
    """Images that are inspected one after another, and whose verdicts are one file.

    names: what the result calls each. table: the Parquet file that holds them in a column, at the places `rows`; else empty,
    and the names are their addresses.
    """

    names: tuple[str, ...]
    table: str = ""
    column: str = ""
    rows: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        """Tells shards apart: the same images have the same key."""
        return sha256("\n".join(self.names).encode(errors="surrogateescape")).hexdigest()[:20]


@dataclass
class Found:
    """What is to be inspected. said: what of the sources is not, and why, in lines."""

    addresses: list[str] = field(default_factory=list)
    tables: list[ImageTable] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.addresses) + sum(one.n_rows for one in self.tables)

    def shards(self, done: set[str], at_once: int) -> Iterator[Shard]:
        """Yield shards of what is not done, each of one kind of source.

        Args:
            at_once: shards that are inspected at the same time.
        """
        size = min(max((len(self) - len(done)) // (8 * at_once), _LEAST), _MOST)
        left = [one for one in self.addresses if encodable(one) not in done]
        for of_url in (False, True):
            for some in _chunks([one for one in left if is_url(one) == of_url], size):
                yield Shard(tuple(some))
        for table in self.tables:
            for first, n_rows in table.groups:
                rows = [
                    row for row in range(first, first + n_rows) if encodable(table.name_of(row)) not in done
                ]
                for chosen in _chunks(rows, size):
                    names = tuple(table.name_of(row) for row in chosen)
                    yield Shard(names, table.address, table.column, tuple(chosen))


def find(sources: Sequence[str], column: str | None, leave_out: str) -> Found:
    """Find the images of folders, patterns, files, URLs and Parquet files.

    Args:
        column: of Parquet files, which holds paths or encoded images; None: the only one that can be meant.
        leave_out: the output, in which nothing is looked for.

    Raises:
        DataError: a source holds no image, or can't be read.
    """
    found = Found()
    for source in sources:
        if files := _parquet_files(source):
            for file in files:
                _add_table(file, column, found)
        elif is_url(source):
            _add_objects(source, leave_out, found)
        else:
            walked = find_images([source], leave_out=None if is_url(leave_out) else Path(leave_out))
            found.addresses += [absolute(str(path)) for path in walked.images]
            found.said += walked.said()
    found.addresses = list(dict.fromkeys(found.addresses))
    found.tables = list({one.address: one for one in found.tables}.values())
    return found


def _parquet_files(source: str) -> list[str]:
    """Return the Parquet files that a source names: itself, or those right in a folder."""
    if is_url(source):
        return [one for one in listed(source) if _is_parquet(one)]
    path = Path(source).expanduser()
    if path.is_dir():
        return sorted(absolute(str(one)) for one in path.glob("*.parquet"))
    if not _is_parquet(source):
        return []
    matching = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207  it may be absolute
    return [absolute(one) for one in matching or [source]]


def _is_parquet(name: str) -> bool:
    return name.lower().endswith((".parquet", ".pq"))


def _add_table(file: str, column: str | None, found: Found) -> None:
    table = look_at(file, column)
    if isinstance(table, ImageTable):
        found.tables.append(table)
    else:
        found.addresses += table


def _add_objects(prefix: str, leave_out: str, found: Found) -> None:
    below = [one for one in listed(prefix) if not one.startswith(f"{leave_out.rstrip('/')}/")]
    images = [one for one in below if Path(one).suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise DataError(
            f"{printable(prefix)}: no images found; expected objects whose names end in {', '.join(sorted(IMAGE_SUFFIXES))}, or "
            "in .parquet"
        )
    found.addresses += images
    if others := len(below) - len(images):
        found.said.append(f"{printable(prefix)}: left out {others} objects that are no images by their names")


def _chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))
