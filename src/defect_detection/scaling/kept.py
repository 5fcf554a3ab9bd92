"""Keep finished sets and branches of trials on a cluster in the cache, for a training that continues after an interruption."""

import hashlib
import json
import pickle
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from defect_detection import __version__
from defect_detection.config import Config
from defect_detection.data.split import Splits
from defect_detection.files.permissions import make_private
from defect_detection.files.unfinished import whole_file
from defect_detection.training.trial import Fits

_FOLDER = "trials"  # of the cache
_RESULT = ".result"  # ends the name of the file beside a bundle
_OLD_S = 7 * 24 * 3600.0


@contextmanager
def room_of(splits: Splits, config: Config) -> Iterator[Path]:
    """Give the folder of all trials on these images with these settings. It is removed when the block ends well."""
    folder = _folder(splits, config)
    _remove_old(folder.parent)
    make_private(folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def kept(folder: Path) -> Any:
    """Return what `keep` was given; None where there is nothing."""
    with suppress(OSError, EOFError, pickle.UnpicklingError):
        return pickle.loads(_result_of(folder).read_bytes()) if folder.is_dir() else None  # noqa: S301  our own
    return None


def keep(folder: Path, done: Any) -> None:
    """Keep what came of a trial beside its bundle."""
    with whole_file(_result_of(folder)) as partial:
        partial.write_bytes(pickle.dumps(done))


class KeptFits(Fits):
    """Branches that the trials of a cluster share: the first that needs one fits it, the others wait for it."""

    def __init__(self, splits: Splits, config: Config) -> None:
        self._folder = _folder(splits, config) / "fits"

    def once(self, key: tuple[object, ...], fit: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
        if key[0] in self.large:
            return super().once(key, fit)
        make_private(self._folder)
        path = self._folder / hashlib.sha256(repr(key).encode()).hexdigest()[:24]
        with FileLock(path.with_suffix(".lock")):
            with suppress(OSError, EOFError, pickle.UnpicklingError):
                return tuple(pickle.loads(path.read_bytes()))  # noqa: S301  our own
            fitted = fit()
            with whole_file(path) as partial:
                partial.write_bytes(pickle.dumps(fitted))
        return fitted


def _folder(splits: Splits, config: Config) -> Path:
    settings = config.model_dump(mode="json", include={"seed", "data", "training", "evaluation"})
    what = [settings, splits.train_fingerprint, splits.validation_fingerprint, __version__]
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    return config.cache_dir / _FOLDER / digest[:20]


def _result_of(folder: Path) -> Path:
    return folder.with_name(folder.name + _RESULT)


def _remove_old(rooms: Path) -> None:
    """Remove what trainings left that were interrupted long ago."""
    for one in rooms.glob("*"):
        if time.time() - one.stat().st_mtime > _OLD_S:
            shutil.rmtree(one, ignore_errors=True)
