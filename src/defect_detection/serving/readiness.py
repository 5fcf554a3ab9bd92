"""Know whether there is a promoted model to serve."""

import threading
import time
from collections.abc import Callable

from defect_detection.config import Config
from defect_detection.errors import DefectDetectionError, NoModelError
from defect_detection.tracking.registry import ModelRef, Registry

FindChampion = Callable[[], ModelRef | None]

REMEMBER_S = 3.0  # an answer stands for so long: a probe each second must not become a query each second


def champion_of(config: Config) -> FindChampion:
    """Return the function that asks the registry for ``inference_model_name``@``inference_model_alias``."""
    registry = Registry(config.tracking_uri)
    return lambda: registry.version_of(config.inference_model_name, config.inference_model_alias)


class Readiness:
    """Remembers for `REMEMBER_S` what the registry said; concurrent callers share one query."""

    def __init__(self, find: FindChampion, wanted: str) -> None:
        self._find = find
        self._wanted = wanted
        self._lock = threading.Lock()
        self._expires = 0.0
        self._champion: ModelRef | None = None
        self._error: DefectDetectionError | None = None

    def champion(self) -> ModelRef:
        """Return the promoted model.

        Raises:
            NoModelError: nothing is promoted yet.
            TrackingError: the registry can't be reached.
        """
        with self._lock:
            if time.monotonic() >= self._expires:
                self._ask()
                self._expires = time.monotonic() + REMEMBER_S
            if self._champion is None:
                raise self._error or self._nothing_promoted()
            return self._champion

    def _ask(self) -> None:
        self._champion, self._error = None, None
        try:
            self._champion = self._find()
        except DefectDetectionError as error:
            self._error = error

    def _nothing_promoted(self) -> NoModelError:
        return NoModelError(
            f"No model is promoted as {self._wanted}: train and evaluate one with 'python src/train.py' and "
            "'python src/evaluation.py'."
        )
