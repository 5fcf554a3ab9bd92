"""List the contents of the cache and limit its size: delete the least recently used entries, never those in use."""

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from defect_detection.data.cache import KEYS, LOCK, MARK, ROWS, is_in_use
from defect_detection.errors import ConfigError
from defect_detection.files.unfinished import unfinished

LIMITED = ("pixels", "activations")  # kinds limited by `cache_max_gb`, which grow with every image and trunk
GB = 10**9
_UNFINISHED_S = 3600  # a hidden folder is a download under way, unless it is older


@dataclass(frozen=True)
class CacheEntry:
    """A unit of the cache: a store of pixels, the activations of a trunk, or another folder.

    stores: its stores, each as `<folder>/<name>`; files: all that takes space; last_used: in seconds since 1970.
    """

    path: Path
    stores: tuple[Path, ...]
    files: tuple[Path, ...]
    n_bytes: int
    last_used: float


@dataclass(frozen=True)
class CacheKind:
    """A folder right below the cache, such as ``pixels``."""

    name: str
    entries: tuple[CacheEntry, ...]

    @property
    def n_bytes(self) -> int:
        return sum(entry.n_bytes for entry in self.entries)

    @property
    def last_used(self) -> float:
        return max((entry.last_used for entry in self.entries), default=0.0)


def contents(cache_dir: Path) -> list[CacheKind]:
    """Return the contents of the cache by kind; empty if the folder does not exist."""
    folders = sorted(path for path in cache_dir.glob("*") if path.is_dir())
    return [CacheKind(folder.name, tuple(_entries(folder))) for folder in folders]


def table(cache_dir: Path, max_gb: float | None) -> list[str]:
    """Return the contents as lines for a person."""
    kinds = contents(cache_dir)
    lines = [f"{'what':<14}{'entries':>8}{'size':>12}  last used"]
    for kind in kinds:
        used = datetime.fromtimestamp(kind.last_used).astimezone()
        when = f"{used:%Y-%m-%d %H:%M}" if kind.entries else "-"
        lines.append(f"{kind.name:<14}{len(kind.entries):>8}{in_words(kind.n_bytes):>12}  {when}")
    lines.append(
        f"{'total':<14}{sum(len(k.entries) for k in kinds):>8}{in_words(sum(k.n_bytes for k in kinds)):>12}"
    )
    limited = sum(kind.n_bytes for kind in kinds if kind.name in LIMITED)
    limit = "none" if max_gb is None else f"{max_gb:g} GB"
    return [
        *lines,
        f"Limit of {' and '.join(LIMITED)} (cache_max_gb): {limit}; in use: {in_words(limited)}",
    ]


def in_words(n_bytes: int) -> str:
    """Return a size in GB or MB."""
    return f"{n_bytes / GB:.2f} GB" if n_bytes >= GB / 10 else f"{n_bytes / 10**6:.1f} MB"


def bound(cache_dir: Path, max_gb: float | None) -> int:
    """Remove stores, the least recently used first, until pixels and activations take at most `max_gb`.

    Entries in use stay, so the cache can temporarily exceed the limit. None: no limit.

    Returns:
        bytes that were freed.
    """
    entries = [entry for kind in contents(cache_dir) if kind.name in LIMITED for entry in kind.entries]
    total = sum(entry.n_bytes for entry in entries)
    freed = 0
    for entry in sorted(entries, key=lambda entry: entry.last_used):
        if max_gb is None or total - freed <= max_gb * GB:
            break
        freed += entry.n_bytes if _remove(entry) else 0
    return freed


def clear(cache_dir: Path, kinds: Sequence[str] = LIMITED) -> tuple[int, list[Path]]:
    """Remove all entries of the kinds that are not in use.

    Returns:
        bytes that were freed, and what is in use and stayed.

    Raises:
        ConfigError: the cache has no such kind.
    """
    found = {kind.name: kind.entries for kind in contents(cache_dir)}
    for unknown in [name for name in kinds if name not in {*found, *LIMITED}]:
        raise ConfigError(f"cache: expected one of: {', '.join({*found, *LIMITED})}, received '{unknown}'")
    entries = [entry for name in kinds for entry in found.get(name, ())]
    removed = [_remove(entry) for entry in entries]
    freed = sum(entry.n_bytes for entry, gone in zip(entries, removed, strict=True) if gone)
    return freed, [entry.path for entry, gone in zip(entries, removed, strict=True) if not gone]


def _entries(folder: Path) -> Iterator[CacheEntry]:
    if folder.name == "pixels":
        for store in sorted(_stores(folder)):
            yield from _entry(store, [store.with_name(store.name + end) for end in (KEYS, ROWS)])
    else:
        for child in sorted(folder.iterdir()):
            yield from _entry(child, child.rglob("*") if child.is_dir() else [child])


def _stores(folder: Path) -> set[Path]:
    return {path.with_suffix("") for end in (KEYS, ROWS) for path in folder.rglob(f"*{end}")}


def _entry(path: Path, candidates: Iterable[Path]) -> Iterator[CacheEntry]:
    """Yield the entry, unless its files are empty."""
    stores: set[Path] = set()
    sizes, used = {}, 0.0
    for file in candidates:
        try:
            status = file.stat()
        except FileNotFoundError:  # another process has just removed it
            continue
        if file.suffix in (KEYS, ROWS, LOCK):
            stores.add(file.with_suffix(""))
        if file.is_file() and file.suffix != LOCK and MARK not in file.name:
            sizes[file] = status.st_size
            used = max(used, status.st_mtime)
    if any(sizes.values()):
        yield CacheEntry(path, tuple(sorted(stores)), tuple(sizes), sum(sizes.values()), used)


def _remove(entry: CacheEntry) -> bool:
    """Remove an entry, unless it is in use. Killed in between, what is left counts as empty.

    The empty lock files of its stores stay: another process may be waiting for one.
    """
    if not entry.stores:
        return _remove_path(entry)
    with ExitStack() as locks:
        try:
            for store in entry.stores:
                locks.enter_context(FileLock(store.with_name(store.name + LOCK), timeout=0))
        except Timeout:
            return False
        if any(is_in_use(store) for store in entry.stores):
            return False
        for file in sorted(
            entry.files, key=lambda file: file.suffix != KEYS
        ):  # without keys, rows aren't read
            file.unlink(missing_ok=True)
    return True


def _remove_path(entry: CacheEntry) -> bool:
    """Remove a folder or file atomically."""
    path = entry.path
    if path.name.startswith(".") and time.time() - entry.last_used < _UNFINISHED_S:
        return False
    doomed = unfinished(path.parent)
    path.rename(doomed)
    if doomed.is_dir():
        shutil.rmtree(doomed)
    else:
        doomed.unlink()
    return True
