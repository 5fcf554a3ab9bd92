"""Report readiness: whether predictions can be made and recorded."""

import threading
import time

from defect_detection.errors import DefectDetectionError, NoModelError
from defect_detection.serving.champion import LoadedChampion
from defect_detection.serving.products import Products, Project
from defect_detection.serving.recording import Recorder

REMEMBER_S = 3.0  # seconds for which the store's answer is cached: a probe each second must not become a query each second


class Readiness:
    """Ready means a loaded model and a reachable store of records. An unreachable registry does not affect readiness."""

    def __init__(self, products: Products, recorder: Recorder) -> None:
        self._products, self._recorder = products, recorder
        self._lock = threading.Lock()
        self._expires = 0.0
        self._error: DefectDetectionError | None = None
        self.is_stopping = False

    def stop(self) -> None:
        """Report from now on that the server is stopping."""
        self.is_stopping = True

    def check(self, project: Project | None = None) -> tuple[LoadedChampion, str | None]:
        """Return the model that is served, and why it isn't the one that is promoted, if so.

        Args:
            project: the product; None: the default one, or another one whose model is loaded where the default one has none.

        Raises:
            NoModelError: none is loaded.
            DefectDetectionError: the store of inspections doesn't answer, or the server is being stopped.
        """
        if self.is_stopping:
            raise DefectDetectionError("the server is stopping: send requests to another one")
        project, champion = self._ready(project)
        with self._lock:
            if time.monotonic() >= self._expires:
                self._error = self._asked()
                self._expires = time.monotonic() + REMEMBER_S
            if self._error is not None:
                raise self._error
        return champion, project.served.problem

    def _ready(self, project: Project | None) -> tuple[Project, LoadedChampion]:
        wanted = project or self._products.default
        try:
            return wanted, wanted.served.current()
        except NoModelError:
            if project is None:
                for other in self._products.loaded():
                    return other, other.served.current()
            raise

    def _asked(self) -> DefectDetectionError | None:
        try:
            self._recorder.check()
        except DefectDetectionError as error:
            return error
        return None
