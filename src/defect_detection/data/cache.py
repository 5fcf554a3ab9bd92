"""Keep rows of one shape on disk by content key, so that frozen work is done once.

Rows lie one after another in a binary file, in the order of the keys in a text file beside it, one a line. A
row counts as soon as its key does: keys are written after their rows are safely on disk. So a writer that is
killed leaves at most a tail that nobody reads, and the next writer cuts it off.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from defect_detection.errors import DataError


class RowStore:
    """Append-only store of rows of one shape and type.

    Several processes may share its folder, as may threads with an object each.

    Args:
        folder: made when it isn't there. Stores of different shapes or types may share it.
        shape: of one row, such as (height, width, 3).
        dtype: of the values.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self.folder = folder
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        name = f"{'x'.join(str(length) for length in shape)}-{self.dtype.name}"
        self._rows_path = folder / f"{name}.rows"
        self._keys_path = folder / f"{name}.keys"
        self._lock_path = folder / f"{name}.lock"
        self._row_bytes = self.dtype.itemsize * int(np.prod(self.shape))
        self._positions: dict[str, int] = {}
        self._keys_read = 0  # bytes of the keys file that `_positions` knows

    def __len__(self) -> int:
        self._refresh()
        return len(self._positions)

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return those keys that have no row yet, each once, in their order."""
        self._refresh()
        return [key for key in dict.fromkeys(keys) if key not in self._positions]

    def append(self, keys: Sequence[str], rows: np.ndarray) -> None:
        """Add one row per key; keys that are there already, also from another process, keep their row.

        Args:
            keys: texts without line breaks.
            rows: array of shape (n_keys, *shape).

        Raises:
            DataError: the folder can't be written, such as on a full disk.
        """
        if rows.shape != (len(keys), *self.shape):
            raise ValueError(f"expected rows of shape {(len(keys), *self.shape)}, received {rows.shape}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._lock_path):
                self._append_locked(keys, rows)
        except OSError as error:
            raise DataError(
                f"{self._rows_path}: can't be written ({error.strerror}); "
                "make room or set cache_dir to another folder"
            ) from error

    def rows(self, keys: Sequence[str]) -> np.ndarray:
        """Return the rows of the keys, in memory, as an array of shape (n_keys, *shape).

        Raises:
            KeyError: a key has no row.
        """
        stored, positions = self.view(keys)
        return np.asarray(stored[positions])

    def view(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return where the rows of the keys are, without reading them: ``stored[positions]`` are the rows.

        Returns:
            memory map of shape (n_stored, *shape), and int64 positions of shape (n_keys,).

        Raises:
            KeyError: a key has no row.
        """
        if any(key not in self._positions for key in keys):
            self._refresh()
        positions = np.array([self._positions[key] for key in keys], dtype=np.int64)
        return self._map(), positions

    def _map(self) -> np.ndarray:
        if not self._positions:
            return np.empty((0, *self.shape), self.dtype)
        return np.memmap(self._rows_path, self.dtype, mode="r", shape=(len(self._positions), *self.shape))

    def _refresh(self) -> None:
        """Learn the keys that were added since the last look; an unfinished last line isn't one."""
        try:
            with self._keys_path.open("rb") as file:
                file.seek(self._keys_read)
                lines = file.read()
        except FileNotFoundError:
            return
        whole = lines[: lines.rfind(b"\n") + 1]
        self._keys_read += len(whole)
        for key in whole.decode().splitlines():
            self._positions[key] = len(self._positions)

    def _append_locked(self, keys: Sequence[str], rows: np.ndarray) -> None:
        new = {key: place for place, key in enumerate(keys)}
        new = {key: new[key] for key in self.missing(keys)}
        if not new:
            return
        ordered = np.ascontiguousarray(rows[list(new.values())], dtype=self.dtype)
        _write_at(self._rows_path, len(self._positions) * self._row_bytes, ordered.data.cast("B"))
        _write_at(self._keys_path, self._keys_read, "".join(f"{key}\n" for key in new).encode())
        self._refresh()


def _write_at(path: Path, offset: int, content: bytes | memoryview) -> None:
    """Cut the file at the offset, add the content, and return when it is on disk."""
    with path.open("r+b" if path.exists() else "x+b") as file:
        file.truncate(offset)
        file.seek(offset)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
