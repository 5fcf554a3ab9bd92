"""Read tensors from a file of PyTorch (before version 1.6) without PyTorch and without executing code from the file."""

import io
import math
import pickle
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

_STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _View(NamedTuple):
    """A tensor whose numbers follow later in the file."""

    storage: tuple[str, np.dtype, int]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(content: bytes) -> dict[str, np.ndarray]:
    """Return the tensors of a state dictionary by their names.

    The file holds five pickles (a magic number, the format, sizes of types, the dictionary, the keys of the storages) and then
    the storages: each its length and its numbers.

    Raises:
        pickle.UnpicklingError: the dictionary names anything but tensors, or the file is not of this kind.
    """
    stream = io.BytesIO(content)
    try:
        for _ in range(3):
            _Restricted(stream).load()
        views = _Restricted(stream).load()
        keys = _Restricted(stream).load()
        types = {view.storage[0]: view.storage[1] for view in views.values()}
        storages = {key: _storage(stream, types[key]) for key in keys}
        return {name: _tensor(view, storages[view.storage[0]]) for name, view in views.items()}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError) as error:
        raise pickle.UnpicklingError(f"not a file of tensors: {error}") from error


class _Restricted(pickle.Unpickler):
    """Build dictionaries and tensors only: a pickle may name any function to call."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"it contains {module}.{name}, which is not a tensor")

    def persistent_load(self, pid: Any) -> tuple[str, np.dtype, int]:
        _, kind, key, _, size, _ = pid
        return str(key), kind, int(size)


def _rebuild(storage: tuple[str, np.dtype, int], offset: int, shape: Any, strides: Any, *_rest: Any) -> _View:
    return _View(storage, int(offset), tuple(shape), tuple(strides))


def _storage(stream: io.BytesIO, kind: np.dtype) -> np.ndarray:
    length = int.from_bytes(stream.read(8), "little")
    return np.frombuffer(stream.read(length * kind.itemsize), kind, length)


def _tensor(view: _View, storage: np.ndarray) -> np.ndarray:
    """Copy a tensor out of its storage; its strides count elements and may be in any order."""
    reach = sum((size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True))
    inside = view.offset >= 0 and min(view.strides, default=0) >= 0 and view.offset + reach < len(storage)
    if math.prod(view.shape) == 0 or not inside:
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    strides = [stride * storage.itemsize for stride in view.strides]
    return np.lib.stride_tricks.as_strided(storage[view.offset :], view.shape, strides).copy()
