"""Cache rows of one shape on disk by content key, so they are computed only once.

Rows lie one after another in a binary file, in the order of the keys in a text file beside it, one a line with
the row's checksum. A row counts as soon as its key does: keys are written after their rows are safely on disk. So
a writer that is killed leaves at most a tail that nobody reads, and the next writer cuts it off.

`missing` compares the checksums. A row that is not what was written counts as missing, and is written again behind
the others: of two lines of a key, the last one counts. A line without a checksum, of an earlier version, is no key.

Each process that uses a store holds a mark beside it, which is a locked file. The lock ends with the process. A store with such a mark
is never removed (`cache_folder`).
"""

import logging
import mmap
import os
import uuid
import weakref
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from defect_detection.errors import DataError
from defect_detection.files.permissions import make_private

log = logging.getLogger(__name__)

KEYS, ROWS, LOCK, MARK = ".keys", ".rows", ".lock", ".in-use-"  # behind the name of a store
_BETWEEN = "\t"  # a key and its row's checksum
_CHECKED_BYTES = 16 * 1024**2  # of rows that are compared at a time
_SMALL_BYTES = 256 * 1024**2
_FORGET = getattr(mmap, "MADV_DONTNEED", None)  # not on Windows


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
        self._rows_path = folder / f"{name}{ROWS}"
        self._keys_path = folder / f"{name}{KEYS}"
        self._lock_path = folder / f"{name}{LOCK}"
        self._mark: _UseMark | None = None
        self._row_bytes = self.dtype.itemsize * int(np.prod(self.shape))
        self._positions: dict[str, int] = {}
        self._sums: dict[str, int] = {}
        self._n_lines = 0  # each is the place of a row, also where it names no key
        self._keys_read = 0  # bytes of the keys file that `_positions` knows

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the store for itself."""
        return RowStore, (self.folder, self.shape, self.dtype)

    def __len__(self) -> int:
        self._refresh()
        return len(self._positions)

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return those keys that have no row yet, or a damaged one, each once, in their order."""
        with suppress(OSError):  # `append` reports errors of the folder
            make_private(self.folder)  # marks the store as in use before its first row
        self._refresh()
        unique = list(dict.fromkeys(keys))
        self._forget_damaged([key for key in unique if key in self._positions])
        return [key for key in unique if key not in self._positions]

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
            make_private(self.folder)
            self._mark_as_used()
            with FileLock(self._lock_path):
                self._append_locked(keys, rows)
        except OSError as error:
            raise DataError(
                f"{self._rows_path}: cannot be written ({error.strerror or error}); free space, or set cache_dir to another "
                "folder"
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

        As long as `stored` exists, the store counts as in use. What is read of it doesn't stay in memory.

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
        n_rows = min(self._n_lines, self._n_stored())
        if not n_rows:
            return np.empty((0, *self.shape), self.dtype)
        mapped = _Mapped(self._rows_path, self.dtype, mode="r", shape=(n_rows, *self.shape))
        mapped.mark = self._mark
        return mapped

    def _n_stored(self) -> int:
        """Return the number of complete rows in the file; 0 if it is not a file."""
        return self._rows_path.stat().st_size // self._row_bytes if self._rows_path.is_file() else 0

    def _forget_damaged(self, keys: list[str]) -> None:
        """Drop the keys of damaged rows, with a warning."""
        stored, n_at_once = self._map(), max(1, _CHECKED_BYTES // self._row_bytes)
        damaged = [key for key in keys if self._positions[key] >= len(stored)]
        there = [key for key in keys if self._positions[key] < len(stored)]
        for start in range(0, len(there), n_at_once):
            chunk = there[start : start + n_at_once]
            rows = stored[[self._positions[key] for key in chunk]]
            damaged += [
                key for key, row in zip(chunk, rows, strict=True) if _checksum(key, row) != self._sums[key]
            ]
        for key in damaged:
            del self._positions[key]
        if damaged:
            log.warning(
                "%s: %d of %d rows are damaged; they are computed again",
                self._rows_path,
                len(damaged),
                len(keys),
            )

    def _set_aside_others(self) -> None:
        """Rename a folder or other object in the place of a file of the store."""
        for path in (self._rows_path, self._keys_path):
            if path.exists() and not path.is_file():
                aside = path.rename(path.with_name(f"{path.name}.damaged-{uuid.uuid4().hex[:8]}"))
                log.warning("%s: expected a file, found something else; it is %s now", path, aside.name)

    def _hold(self) -> None:
        """Like `_mark_as_used`, except in a read-only folder, where nothing can be removed anyway."""
        if self.folder.is_dir():
            with suppress(OSError):
                self._mark_as_used()

    def _mark_as_used(self) -> None:
        """Mark the store as in use, and as used now, as long as this object or a view of it exists."""
        if self._mark is None:
            with FileLock(self._lock_path):
                is_in_use(self._lock_path.with_suffix(""))  # removes marks of killed processes
                self._mark = _UseMark(
                    self._lock_path.with_suffix(f"{MARK}{os.getpid()}-{uuid.uuid4().hex[:8]}")
                )
                if self._keys_path.exists():
                    os.utime(self._keys_path)

    def _refresh(self) -> None:
        """Learn the keys that were added since the last look; an unfinished last line isn't one."""
        self._hold()
        self._learn()

    def _learn(self) -> None:
        try:
            with self._keys_path.open("rb") as file:
                file.seek(self._keys_read)
                lines = file.read()
        except (FileNotFoundError, IsADirectoryError):  # a folder in its place is set aside by `append`
            return
        whole = lines[: lines.rfind(b"\n") + 1]
        self._keys_read += len(whole)
        for line in whole.split(b"\n")[:-1]:
            key, between, checksum = line.decode(errors="replace").rpartition(_BETWEEN)
            with suppress(ValueError):
                if between:
                    self._sums[key] = int(checksum, 16)
                    self._positions[key] = self._n_lines
            self._n_lines += 1

    def _append_locked(self, keys: Sequence[str], rows: np.ndarray) -> None:
        new = {key: place for place, key in enumerate(keys)}
        self._set_aside_others()
        self._learn()
        new = {key: place for key, place in new.items() if key not in self._positions}
        if not new:
            return
        ordered = np.ascontiguousarray(rows[list(new.values())], dtype=self.dtype)
        lines = [f"{key}{_BETWEEN}{_checksum(key, row):08x}\n" for key, row in zip(new, ordered, strict=True)]
        _write_at(self._rows_path, self._n_lines * self._row_bytes, ordered.data.cast("B"))
        _write_at(self._keys_path, self._keys_read, "".join(lines).encode())
        self._learn()


def _checksum(key: str, row: np.ndarray) -> int:
    return zlib.crc32(row.data, zlib.crc32(key.encode(errors="replace")))


class _UseMark:
    """A locked file, removed with this object. If the process is killed, only the lock is released."""

    def __init__(self, path: Path) -> None:
        lock = FileLock(path, thread_local=False)
        lock.acquire(timeout=0)
        weakref.finalize(self, _end_mark, lock, path)


def _end_mark(lock: Any, path: Path) -> None:
    with suppress(OSError):  # on Windows an open file can't be removed: `is_in_use` does it
        path.unlink(missing_ok=True)
    lock.release()


def is_in_use(store: Path) -> bool:
    """Check whether the store `<folder>/<name>` is in use, and remove marks of killed processes."""
    for mark in store.parent.glob(f"{store.name}{MARK}*"):
        try:
            with FileLock(mark, timeout=0):
                mark.unlink(missing_ok=True)
        except Timeout:
            return True
    return False


class _Mapped(np.memmap):
    """Rows of a file. Pages are released after their rows are copied, so memory holds a batch, not the file."""

    mark: _UseMark | None = None
    _mmap: mmap.mmap | None  # numpy's own; None in a copy

    def __getitem__(self, index: Any) -> Any:
        rows = super().__getitem__(index)
        if isinstance(rows, _Mapped) and rows._mmap is not None:  # a part of the map itself
            return rows
        self._forget()
        return np.asarray(rows)[()]

    def __setitem__(self, index: Any, values: Any) -> None:
        super().__setitem__(index, values)
        self._forget()  # they are in the file's own pages, which the system writes when it likes

    def _forget(self) -> None:
        if _FORGET is not None and self._mmap is not None:
            self._mmap.madvise(_FORGET)


def scratch(shape: tuple[int, ...], dtype: npt.DTypeLike, folder: Path) -> np.ndarray:
    """Return an empty array: in memory if it is small, else in a temporary file below the folder.

    Raises:
        DataError: the folder can't be written.
    """
    if np.dtype(dtype).itemsize * int(np.prod(shape)) <= _SMALL_BYTES:
        return np.empty(shape, dtype)
    try:
        make_private(folder)
        with TemporaryFile(dir=folder) as file:  # the map keeps it
            return _Mapped(file, dtype, mode="w+", shape=shape)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written ({error.strerror}); free space, or set cache_dir to another folder"
        ) from error


def _write_at(path: Path, offset: int, content: bytes | memoryview) -> None:
    """Cut the file at the offset, add the content, and return when it is on disk."""
    with path.open("r+b" if path.exists() else "x+b") as file:
        file.truncate(offset)
        file.seek(offset)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
