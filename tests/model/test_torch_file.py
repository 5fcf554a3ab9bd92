"""Tensor files are read, and no code in them is executed."""

import io
import pickle
import sys
from collections import OrderedDict
from types import ModuleType

import numpy as np
import pytest

from defect_detection.model.torch_file import read_tensors

NUMBERS = np.arange(24, dtype="<f4")
STORAGE = object()


class _Rebuilt:
    """Pickles as PyTorch pickles a tensor."""

    def __init__(self, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.place = (offset, shape, strides)

    def __reduce__(self):
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        return rebuild, (STORAGE, *self.place, False, OrderedDict())


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        if obj is not STORAGE:
            return None
        return "storage", sys.modules["torch"].FloatStorage, "7", "cpu", len(NUMBERS), None


@pytest.fixture
def torch(monkeypatch):
    """Names that a pickle of tensors holds; PyTorch itself isn't installed."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})

    def _rebuild_tensor_v2(*_): ...

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def written(tensors: dict[str, object]) -> bytes:
    stream = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, OrderedDict(tensors), ["7"]):
        _Pickler(stream, 2).dump(value)
    return stream.getvalue() + len(NUMBERS).to_bytes(8, "little") + NUMBERS.tobytes()


@pytest.mark.usefixtures("torch")
def test_tensors_are_read_in_the_order_of_their_strides():
    rows, columns = _Rebuilt(0, (4, 6), (6, 1)), _Rebuilt(2, (3, 2), (1, 4))
    tensors = read_tensors(written({"rows": rows, "columns": columns, "one": _Rebuilt(5, (), ())}))
    np.testing.assert_array_equal(tensors["rows"], NUMBERS.reshape(4, 6))
    np.testing.assert_array_equal(tensors["columns"], [[2, 6], [3, 7], [4, 8]])
    assert tensors["one"] == 5


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize(
    "place", [(20, (5,), (1,)), (0, (2, 2), (30, 1)), (-1, (2,), (1,)), (3, (2,), (-1,))]
)
def test_a_tensor_beyond_its_storage_is_refused(place):
    with pytest.raises(pickle.UnpicklingError, match="beyond its storage"):
        read_tensors(written({"a": _Rebuilt(*place)}))


def test_a_file_that_names_anything_but_tensors_runs_nothing(capsys):
    with pytest.raises(pickle.UnpicklingError, match="print, which is not a tensor"):
        read_tensors(written({"a": _Call()}))
    assert capsys.readouterr().out == ""


class _Call:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize("kept", [0, 30, 400])
def test_a_truncated_file_is_refused(kept):
    content = written({"a": _Rebuilt(0, (24,), (1,))})
    with pytest.raises(pickle.UnpicklingError):
        read_tensors(content[: min(kept, len(content) - 8)])
