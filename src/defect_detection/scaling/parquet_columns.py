"""Read images, or their paths, from a column of a Parquet file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from defect_detection.errors import DataError
from defect_detection.scaling.storage import is_url, opened
from defect_detection.text import printable

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_ROWS_AT_ONCE = 16  # images in memory


@dataclass(frozen=True)
class ImageTable:
    """A Parquet file with encoded images. groups: (first row, rows) of each part that is read on its own."""

    address: str
    column: str
    groups: tuple[tuple[int, int], ...]

    @property
    def n_rows(self) -> int:
        return sum(rows for _, rows in self.groups)

    def name_of(self, row: int) -> str:
        """Return what the result calls an image: the file and the row, from 0."""
        return f"{self.address}#{row}"


def look_at(address: str, column: str | None) -> ImageTable | list[str]:
    """Return where a file holds images, or the addresses that it lists.

    Raises:
        DataError: the file is cut off or damaged, or the column is missing, ambiguous or of another type.
    """
    with _parquet(address) as file:
        name, is_image = _column_of(file, address, column)
        if is_image:
            return ImageTable(address, name, _groups(file))
        listed = file.read(columns=[name]).column(0).to_pylist()
    if None in listed:
        raise DataError(
            f"{printable(address)}: column {name}: row {listed.index(None)} holds no path; remove such rows"
        )
    return [_beside(address, str(one)) for one in listed]


def images_of(address: str, column: str, rows: Sequence[int]) -> Iterator[bytes | None]:
    """Yield the encoded images of some rows, in ascending order; None where a row holds none."""
    with _parquet(address) as file:
        wanted = iter(rows)
        row = next(wanted, None)
        for number, (first, n_rows) in enumerate(_groups(file)):
            if row is None or row >= first + n_rows:
                continue
            at = first
            for batch in file.iter_batches(_ROWS_AT_ONCE, row_groups=[number], columns=[column]):
                while row is not None and row < at + len(batch):
                    yield batch.column(0)[row - at].as_py()
                    row = next(wanted, None)
                at += len(batch)


def _groups(file: "pq.ParquetFile") -> tuple[tuple[int, int], ...]:
    first, found = 0, []
    for number in range(file.num_row_groups):
        n_rows = file.metadata.row_group(number).num_rows
        found.append((first, n_rows))
        first += n_rows
    return tuple(found)


def _column_of(file: "pq.ParquetFile", address: str, column: str | None) -> tuple[str, bool]:
    """Return the column, and whether it holds images instead of paths."""
    import pyarrow as pa

    kinds: dict[str, bool] = {}
    for field in file.schema_arrow:
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            kinds[field.name] = True
        elif pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            kinds[field.name] = False
    images = [name for name, is_image in kinds.items() if is_image]
    candidates = [column] if column else images or list(kinds)
    if len(candidates) == 1 and candidates[0] in kinds:
        return candidates[0], kinds[candidates[0]]
    has = ", ".join(f"{one.name} ({one.type})" for one in file.schema_arrow)
    raise DataError(
        f"{printable(address)}: expected one column of encoded images (binary) or of paths (string), received "
        f"{printable(has)}; name it with --column NAME"
    )


def _beside(address: str, path: str) -> str:
    """Return an address that a table lists: from the folder of the table, where it is relative."""
    if is_url(path) or path.startswith("/"):
        return path
    scheme, between, rest = address.rpartition("://")
    return f"{scheme}{between}{PurePosixPath(rest).parent / path}"


@contextmanager
def _parquet(address: str) -> Iterator["pq.ParquetFile"]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with opened(address) as file:
        try:
            yield pq.ParquetFile(file)
        except (pa.ArrowInvalid, pa.ArrowException, OSError) as error:
            raise DataError(
                f"{printable(address)}: is not a complete Parquet file ({printable(_first_line(error))}); write or copy it again, or "
                "leave "
                "it out"
            ) from error


def _first_line(error: Any) -> str:
    return str(error).partition("\n")[0]
