"""Compare the line with the model in production every hour, and report drift in the log, the trail and the metrics."""

import logging
import threading
from datetime import datetime

from defect_detection.config import Config
from defect_detection.errors import DefectDetectionError
from defect_detection.files.trail import leave
from defect_detection.records.database import Database
from defect_detection.serving.champion import LoadedChampion, Served
from defect_detection.tracking.lease import who
from defect_detection.use_cases.monitoring import LineState, PlaceState, last_look, look_at_line

LOOK_EVERY_S = 60.0  # whether the next hour has come, or another model

log = logging.getLogger(__name__)


class LineWatch:
    """Compares once an hour, however often it is asked. It only reads inspections and never starts a retraining."""

    def __init__(self, config: Config, database: Database, served: Served) -> None:
        self._config, self._database, self._served = config, database, served
        self._lock = threading.Lock()
        self._key: tuple[LoadedChampion, datetime] | None = None
        self._state: LineState | None = None
        self._problem = ""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def alarm(self) -> str | None:
        """The message of the last comparison, if it was an alarm."""
        return self._state.alarm if self._state else None

    def look(self) -> LineState:
        """Return the comparison of this hour. It is made when it is first asked for.

        Raises:
            NoModelError: no model is served. RecordsError: the database can't be read.
        """
        champion = self._served.current()
        key = (champion, last_look(self._config))
        with self._lock:
            if self._state is None or self._key != key:
                baseline = champion.inspector.card.baseline
                state = look_at_line(self._config, self._database, champion.reference, baseline)
                self._tell(state)
                self._state, self._key = state, key
            return self._state

    def places(self) -> tuple[PlaceState, ...]:
        """Return the comparison of the product and its stations; none while no model is in memory."""
        return self.look().places if self._served.loaded else ()

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="line watch", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_EVERY_S):
            try:
                if self._served.loaded:
                    self.look()
                self._problem = ""
            except DefectDetectionError as error:
                self._report(str(error))
            except Exception:  # a bug here must not end the comparison for good
                log.exception("the line cannot be compared with the training images")

    def _report(self, problem: str) -> None:
        if problem != self._problem:
            log.warning("the line cannot be compared with the training images: %s", problem)
        self._problem = problem

    def _tell(self, state: LineState) -> None:
        """Log each alarm and its end, and leave a line in the trail."""
        before = {(one.line, one.station): one.cause for one in self._state.places} if self._state else {}
        now = {(one.line, one.station): one for one in state.places}
        for place in [*now, *(place for place in before if place not in now)]:
            one = now.get(place)
            cause = one.cause if one else None
            if cause != before.get(place):
                usual = one.message if one else f"{', '.join(filter(None, place))}: no longer compared"
                self._tell_one(state, cause, usual if cause else f"the alarm ended: {usual}")

    def _tell_one(self, state: LineState, cause: str | None, told: str) -> None:
        log.warning("%s %d: %s", state.model, state.version, told)
        on = f"{state.model} {state.version}"
        leave(self._config.plant, who(), "line drifted", on, f"{cause or 'ended'}: {told}")
