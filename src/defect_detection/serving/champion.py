"""Keep the promoted model loaded, and replace it without interruption after a promotion."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from defect_detection.config import Config
from defect_detection.config.products import DEFAULT
from defect_detection.data.boxes import BoxRules
from defect_detection.errors import BundleError, ConfigError, DefectDetectionError, NoModelError
from defect_detection.inference.inspect import Inspector
from defect_detection.tracking.fetch import fetch_apart
from defect_detection.tracking.reading import ModelRef
from defect_detection.tracking.registry import Registry
from defect_detection.use_cases.no_model import no_model

FindChampion = Callable[[], ModelRef | None]
LoadChampion = Callable[[ModelRef], Inspector]

LOOKS = 10  # in `refresh_s`: one takes a few milliseconds, and nine tenths of the time are for loading
LOOKS_AFTER_FAILURE = 2  # loading may take all processors for seconds
FIRST_LOAD_S = 30.0  # a request that comes before the first model is loaded waits so long for it

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedChampion:
    """A promoted model, ready to inspect."""

    reference: ModelRef
    inspector: Inspector


class Served:
    """Checks in a thread for a newly promoted model and loads it, so it is served within `refresh_s` seconds.

    The new model is loaded, run once and checked beside the old one; then one reference changes. Requests that have begun
    finish with the old one, which is freed after the last of them. What can't be loaded isn't served: the old one stays, and
    `problem` says why.

    Args:
        find: returns the promoted model or None.
        load: loads it, or raises a `DefectDetectionError`.
        without: `problem` while no model is promoted.
    """

    def __init__(self, find: FindChampion, load: LoadChampion, without: str, refresh_s: float) -> None:
        self._find, self._load = find, load
        self._without, self._refresh_s = without, refresh_s
        self._champion: LoadedChampion | None = None
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._asked_once = threading.Event()
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self.problem: str | None = None
        self.swaps = 0
        self.on_load: Callable[[], None] = lambda: None  # is called when a model was loaded

    @classmethod
    def of(
        cls, config: Config, find: FindChampion | None = None, load: LoadChampion | None = None
    ) -> "Served":
        """Serve ``inference_model_name``@``inference_model_alias`` of the registry."""
        registry = Registry(config.tracking_uri)
        name, alias = config.inference_model_name, config.inference_model_alias
        return cls(
            find or (lambda: registry.glance(name, alias)),
            load or (lambda reference: load_champion(reference, config)),
            str(no_model(config, "open the page Train")),
            config.serving.refresh_s,
        )

    def current(self) -> LoadedChampion:
        """Return the model to inspect with. One that is just being loaded for the first time is waited for.

        Raises:
            NoModelError: no model is promoted, or it cannot be loaded.
        """
        if self._champion is None:
            self.start()
            self._asked_once.wait(FIRST_LOAD_S)
        if (champion := self._champion) is None:
            raise NoModelError(self.problem or "the model is still loading: try again in some seconds")
        return champion

    @property
    def loaded(self) -> LoadedChampion | None:
        """The model that is served now, without waiting."""
        return self._champion

    def start(self) -> None:
        """Start to watch, if that wasn't done: in the process that serves, not in one that it was forked from."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="champion", daemon=True)
                self._thread.start()

    def look_now(self) -> None:
        """Check for a new model now, after a known change. Returns before it is loaded."""
        self._wake.set()

    def release(self) -> None:
        """Stop watching, without waiting for the thread. Requests that wait for the model still get it."""
        self._stopping.set()
        self._wake.set()

    def stop(self) -> None:
        """Stop watching; the loaded model stays."""
        self.release()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not (self._stopping.is_set() and self._asked_once.is_set()):
            went_well = self._refresh()
            self._asked_once.set()
            self._wake.wait(self._refresh_s / (LOOKS if went_well else LOOKS_AFTER_FAILURE))
            self._wake.clear()

    def _refresh(self) -> bool:
        """Check, and load a new version. False: this failed."""
        try:
            self._follow(self._find())
        except ConfigError as error:  # the product is no more, or archived
            self._champion = None
            self._report(str(error))
        except DefectDetectionError as error:
            self._report(str(error))
        except Exception:
            log.exception("unexpected error while checking for a new model")
            self._report("unexpected error while checking for a new model: see the log")
        else:
            return True
        return False

    def _follow(self, found: ModelRef | None) -> None:
        champion = self._champion
        if found is None:
            self._report(self._without)
            return
        if champion is None or _identity(champion.reference) != _identity(found):
            self._champion = LoadedChampion(found, self._load(found))
            self.swaps += champion is not None
            log.info("serving %s%s", found, f" instead of {champion.reference}" if champion else "")
            self.on_load()
        self.problem = None

    def _report(self, problem: str) -> None:
        if problem != self.problem:
            still = f"; still serving {self._champion.reference}" if self._champion else ""
            log.warning("%s%s", problem, still)
        self.problem = problem


def load_champion(reference: ModelRef, config: Config) -> Inspector:
    """Load a version, run it once, and check that it gives its golden verdicts here.

    Raises:
        TrackingError: its files can't be fetched.
        BundleError: they are damaged, or give another verdict on a golden image.
    """
    folder = fetch_apart(reference, config.tracking_uri, config.cache_dir)
    settings = config.inference
    inspector = Inspector.load(
        folder,
        name=str(reference),
        threads=settings.threads,
        precision=settings.precision,
        box_rules=BoxRules.of(config),
    )
    if note := inspector.card.other_bit_depth(config.data.bit_depth):
        log.warning("%s: %s", reference, note)
    if reference.seal is None:
        log.warning(
            "%s was registered by an earlier version, without the SHA-256 of its files: changed files are not detected",
            reference,
        )
    inspector.prepare(lean=config.product != DEFAULT)  # a server may have many products
    found = inspector.parity(folder, settings.precision)
    if not found.same_verdicts:
        raise BundleError(
            f"{reference}: not served, {found.flips_in_words}; check inference.precision, or train and promote again"
        )
    return inspector


def _identity(reference: ModelRef) -> tuple[str, ...]:
    known = reference.tags.get("model_id", "")
    return reference.name, str(reference.version), reference.run_id, known
