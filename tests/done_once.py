"""Do once in a process what many tests would do again with the same model: draw its pictures, compile it, convert it.

Pictures are drawn small and without a layout, and one stands for all of its form: tests/report looks at them.
"""

import hashlib
import pickle
import shutil
from collections.abc import Callable, Iterator
from functools import cache, wraps
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from mlflow.store.db import utils as db_utils
from once import once

from defect_detection.config.training import HyperparameterSet
from defect_detection.inference.runtime import Runtime
from defect_detection.model import forms
from defect_detection.model.named_weights import COMPACT_WEIGHTS
from defect_detection.model.trunks import Trunk
from defect_detection.report import figures, page
from defect_detection.training import trial


def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls this one once for the same content."""
    kept: dict[bytes, Any] = {}

    @wraps(function)
    def ask(*arguments: object) -> Any:
        key = pickle.dumps(arguments)
        if key not in kept:
            kept[key] = function(*arguments)
        return kept[key]

    return ask


_CHARTS = ("confusion_matrix", "score_histogram", "roc", "reliability_diagram", "contact_sheet")
_REMEMBERED = [
    *((figures, name, remembered(getattr(figures, name))) for name in _CHARTS),
    (page, "cost_chart", remembered(page.cost_chart)),
]
_SAVE = Figure.savefig
_SAVED: dict[object, bytes] = {}  # by the form of the figure and of the file
_COMPILED: dict[object, Any] = {}  # by the files of the model and the options
_READ, _COMPILE = Runtime.__init__, Runtime._compile
_TRUNKS, _BUILD = trial.Fits(), trial.trunk_of
_TRUNKS.large = ()  # keep them all: they are small here
_newest_tables = cache(db_utils._get_latest_schema_revision)


@pytest.fixture(autouse=True)
def drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, function in _REMEMBERED:
        monkeypatch.setattr(module, name, function)
    monkeypatch.setattr(Figure, "savefig", _save)
    monkeypatch.setattr(figures, "DPI", 20)
    monkeypatch.setattr(figures, "LAYOUT", None)


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Runtime, "__init__", _read)
    monkeypatch.setattr(Runtime, "_compile", _compile)


@pytest.fixture(autouse=True)
def built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Share a trunk between the trainings of a process, as the sets of one training do, unless it is tuned."""

    def build(settings: HyperparameterSet, size: tuple[int, int], seed: int, fits: trial.Fits) -> Trunk:
        return _BUILD(settings, size, seed, _TRUNKS if settings.weights in COMPACT_WEIGHTS else fits)

    monkeypatch.setattr(trial, "trunk_of", build)


@pytest.fixture(autouse=True)
def newest_tables_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let MLflow read its forty migrations once, not for each store, to learn which tables are the newest."""
    monkeypatch.setattr(db_utils, "_get_latest_schema_revision", _newest_tables)


@pytest.fixture(autouse=True, scope="session")
def converted_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Convert a model to ONNX and to LiteRT once for all processes, by its weights and its graph."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("to_onnx", "to_litert"):
            patch.setattr(forms, name, _converting(getattr(forms, name), tmp_path_factory))
        yield


def _converting(
    convert: Callable[[Any, Path], None], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Any, Path], None]:
    def copy(model: Any, path: Path) -> None:
        content = [model.to_json().encode(), *(one.tobytes() for one in model.get_weights())]
        name = f"{path.suffix[1:]}-{hashlib.sha256(b''.join(content)).hexdigest()}"
        made = once(tmp_path_factory, name, lambda folder: convert(model, folder / f"model{path.suffix}"))
        shutil.copyfile(made / f"model{path.suffix}", path)

    return copy


def _save(figure: Figure, place: Path | str | BytesIO, **options: Any) -> None:
    """Draw the first figure with these panels and labels; write its picture for the others."""
    labels = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]
    options = options if isinstance(place, BytesIO) else options | {"format": Path(place).suffix[1:]}
    key = repr((figure.get_size_inches().tolist(), labels, options))
    if key not in _SAVED:
        _SAVE(figure, buffer := BytesIO(), **options)
        _SAVED[key] = buffer.getvalue()
    if isinstance(place, BytesIO):
        place.write(_SAVED[key])
    else:
        Path(place).write_bytes(_SAVED[key])


def _read(runtime: Runtime, path: Path, **options: Any) -> None:
    runtime._content = _hash(path)  # type: ignore[attr-defined]
    _READ(runtime, path, **options)


def _hash(path: Path) -> str:
    files = [file for file in (path, path.with_suffix(".bin")) if file.exists()]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _compile(runtime: Runtime, hint: str, **more: object) -> Any:
    if not hasattr(runtime, "_content"):  # it was read before the test, for all tests of the process
        return _COMPILE(runtime, hint, **more)
    key = runtime._content, hint, *runtime._options.items(), *more.items()  # type: ignore[attr-defined]
    if key not in _COMPILED:
        _COMPILED[key] = _COMPILE(runtime, hint, **more)
    return _COMPILED[key]
