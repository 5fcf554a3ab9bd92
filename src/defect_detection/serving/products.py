"""The products that a server knows: settings of each, and the models in memory.

The settings of a product are read on first use, and again when their file has changed. Its model loads on first use, or at the start
(``serving.preload``). Beyond ``serving.max_models`` the model that was not used for longest leaves memory; requests that have begun
keep it to their end.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from defect_detection.config import Config
from defect_detection.config.products import (
    ARCHIVED,
    DEFAULT,
    FILE,
    archived_names,
    folder_of,
    product_names,
    require_plant,
    settings_of,
)
from defect_detection.errors import ConfigError, DefectDetectionError
from defect_detection.records.database import Database
from defect_detection.serving.champion import FindChampion, LoadChampion, Served
from defect_detection.serving.line_watch import LineWatch
from defect_detection.serving.predicting import Predicting
from defect_detection.serving.prometheus import RequestMetrics
from defect_detection.serving.recording import Recorder
from defect_detection.tracking.registry import Registry
from defect_detection.use_cases.product_images import ProductImages
from defect_detection.use_cases.products import settings_of_product

log = logging.getLogger(__name__)
Stamp = tuple[int, int, int] | None  # of a settings file: another one means other settings


class UnknownProductError(DefectDetectionError):
    """There is no such product, or it is archived."""


@dataclass(frozen=True, slots=True)
class Project:
    """A product as a server has it: its settings, its model in memory, what inspects with it, and its images."""

    name: str
    config: Config
    served: Served
    predicting: Predicting
    line_watch: LineWatch
    images: ProductImages

    def release(self) -> None:
        """Release the product; requests that have begun still finish with it."""
        self.served.release()
        self.line_watch.stop(0)


class Products:
    """All products of a plant. Threads may share it.

    Args:
        find, load: of the default product's model, as for `Served.of`.
    """

    def __init__(
        self,
        plant: Config,
        database: Database,
        recorder: Recorder,
        metrics: RequestMetrics,
        find: FindChampion | None = None,
        load: LoadChampion | None = None,
    ) -> None:
        require_plant(plant)
        self._plant, self._database = plant, database
        self._is_watching = False
        served = Served.of(plant, find, load)
        predicting = Predicting.of(plant, served, recorder, metrics)
        self.default = Project(
            DEFAULT, plant, served, predicting, LineWatch(plant, database, served), ProductImages(plant)
        )
        self._used: OrderedDict[str, tuple[Stamp, Project]] = OrderedDict()  # the last one was used last
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Return the names of all products in use, the default one first."""
        return [DEFAULT, *product_names(self._plant.root)]

    def archived(self) -> list[str]:
        """Return the names of the archived products, whose records can still be read."""
        return archived_names(self._plant.root)

    def has_records(self, name: str) -> bool:
        """Check whether there is a product with this name, in use or archived."""
        if name == DEFAULT:
            return True
        try:
            folder = folder_of(self._plant.root, name)
        except ConfigError:
            return False
        return (folder / FILE).is_file() or (folder / ARCHIVED).is_file()

    def get(self, name: str) -> Project:
        """Return a product, which counts as used now. Its model may not be loaded yet: see `Served.current`.

        Raises:
            UnknownProductError: there is none, or it is archived. ConfigError: its settings are wrong.
        """
        if name == DEFAULT:
            return self.default
        with self._lock:
            stamp, known = self._stamp_of(name), self._used.pop(name, None)
            if stamp is None:
                if known is not None:
                    known[1].release()
                raise UnknownProductError(f"product '{name}' is archived or unknown")
            project = self._current(name, stamp, known)
            self._used[name] = stamp, project
            return project

    def _current(self, name: str, stamp: Stamp, known: tuple[Stamp, Project] | None) -> Project:
        """Return a product with the settings that its file has now; with those of before where they are wrong now."""
        if known is None:
            return self._opened(name)
        if known[0] == stamp:
            return known[1]
        try:
            project = self._opened(name)
        except ConfigError as error:
            log.warning("the changed settings of product %s are not used: %s", name, error)
            return known[1]
        known[1].release()
        return project

    def loaded(self) -> list[Project]:
        """Return the products whose model is in memory."""
        return [project for project in self._projects() if project.served.loaded]

    def _projects(self) -> list[Project]:
        with self._lock:
            return [self.default, *(project for _, project in self._used.values())]

    def served(self) -> dict[str, Served]:
        """Return what serves each product that was used, by its name; the default one is always there."""
        return {project.name: project.served for project in self._projects()}

    def line_watches(self) -> dict[str, LineWatch]:
        """Return what compares the line with the model, of each product that was used."""
        return {project.name: project.line_watch for project in self._projects()}

    @property
    def alarm(self) -> str | None:
        """The message that the line drifted, of the default product or the first other one with an alarm."""
        alarms = ((name, watch.alarm) for name, watch in self.line_watches().items())
        found = ((name, alarm) for name, alarm in alarms if alarm)
        return next((alarm if name == DEFAULT else f"{name}: {alarm}" for name, alarm in found), None)

    def start(self) -> None:
        """Load the default product's model, and those of ``serving.preload``, and watch the lines. Returns before that is done."""
        self._is_watching = True
        self.default.served.start()
        self.default.line_watch.start()
        for name in self._plant.serving.preload:
            try:
                self.get(name).served.start()
            except (UnknownProductError, ConfigError) as error:
                log.warning("serving.preload: %s is not loaded: %s", name, error)

    def look_now(self, name: str) -> None:
        """Look for a newly promoted model of a product, if its model is in memory."""
        if served := self.served().get(name):
            served.look_now()

    def stop(self) -> None:
        """Stop watching; the loaded models stay."""
        for project in self._projects():
            project.served.stop()

    def stop_watching(self) -> None:
        """Compare the lines with the models no longer."""
        for project in self._projects():
            project.line_watch.stop()

    def _stamp_of(self, name: str) -> Stamp:
        try:
            status = settings_of(self._plant.root, name).stat()
        except (ConfigError, OSError):
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _opened(self, name: str) -> Project:
        config = settings_of_product(self._plant, name)
        registry, root = Registry(config.tracking_uri), self._plant.root

        def find() -> object:
            settings_of(root, name)  # an archived product has no model to serve
            return registry.glance(config.inference_model_name, config.inference_model_alias)

        served = Served.of(config, find)  # type: ignore[arg-type]
        served.on_load = self._make_room
        watch = LineWatch(config, self._database, served)
        if self._is_watching:
            watch.start()
        predicting = self.default.predicting.of_product(config, served)
        return Project(name, config, served, predicting, watch, ProductImages(config))

    def _make_room(self) -> None:
        """Unload the least recently used models. The model of the default product counts, but stays."""
        most = max(1, self._plant.serving.max_models - (self.default.served.loaded is not None))
        with self._lock:
            loaded = [name for name, (_, project) in self._used.items() if project.served.loaded]
            for name in loaded[:-most]:
                self._used.pop(name)[1].release()
                log.info("the model of product %s leaves memory (serving.max_models)", name)


def listed(names: Iterable[str]) -> str:
    """Return the names as a text."""
    return ", ".join(names) or "none"
