"""Compare the line with the training images of the model in production."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np

from defect_detection.config import Config
from defect_detection.evaluation.drift import (
    Baseline,
    Cause,
    ComparedFigure,
    Spread,
    cause_of,
    compare,
    level_of,
    persistence_of,
)
from defect_detection.model.bundle import read_card
from defect_detection.records.database import Database
from defect_detection.records.record_store import Records
from defect_detection.records.windows import Place, Window, find_places, find_windows
from defect_detection.tracking.fetch import fetch_apart
from defect_detection.tracking.reading import ModelRef
from defect_detection.tracking.registry import Registry
from defect_detection.use_cases.no_model import no_model

State = Literal["usual", "differs", "alarm", "too few", "no baseline"]
MOVED_MOST = 12  # images that are shown
OF_PLACE = ("line", "station", "state", "cause", "message", "inspections", "needed")  # what is told of each


@dataclass(frozen=True, slots=True)
class MovedFigure:
    """An inspection of the newest window that is far from what is usual. figure: which of its figures is, and its value."""

    id: str
    name: str
    figure: str
    value: float


@dataclass(frozen=True, slots=True)
class PlaceState:
    """The answer for all of the product (line and station are empty), or for one station.

    cause: of an alarm: the camera (lens, light), or the parts. message: in words, with what to do.
    inspections: in windows and towards the next one; needed: of an alarm. windows: newest first.
    """

    line: str
    station: str
    state: State
    cause: Cause | None
    message: str
    inspections: int
    needed: int
    windows: tuple[tuple[datetime, datetime], ...]
    figures: tuple[ComparedFigure, ...]
    moved_most: tuple[MovedFigure, ...]


@dataclass(frozen=True, slots=True)
class LineState:
    """The answer at one moment. It is the same for every server, the page and the command line.

    shown: the only station with an alarm, else all of the product if it has one, else the first station with one. level: of each test.
    places: all of the product, then each station that is compared on its own.
    """

    model: str
    version: int
    compared_at: datetime
    next_at: datetime
    level: float | None
    shown: PlaceState
    places: tuple[PlaceState, ...]

    @property
    def alarm(self) -> str | None:
        """The message of an alarm, if there is one."""
        return self.shown.message if self.shown.state == "alarm" else None

    @property
    def asks_for_labels(self) -> bool:
        """Whether labels of the most novel images would help. After a camera change, they would teach the model a dirty lens."""
        return self.shown.cause == "parts" and any(one.name == "novelty" for one in self.shown.figures)

    def to_json(self) -> dict[str, Any]:
        """Return the record that the API and ``defect monitor --json`` give."""
        times = {name: getattr(self, name).isoformat() for name in ("compared_at", "next_at")}
        shown = asdict(self.shown)
        shown["windows"] = [
            {"since": since.isoformat(), "until": until.isoformat()} for since, until in self.shown.windows
        ]
        places = [{name: getattr(one, name) for name in OF_PLACE} for one in self.places]
        about = {"model": self.model, "version": self.version, **times, "level": self.level}
        return about | shown | {"asks_for_labels": self.asks_for_labels, "places": places}


def monitor(config: Config) -> LineState:
    """Compare the line with the model in production.

    Raises:
        NoModelError: none is. TrackingError: it can't be fetched. RecordsError: the database can't be read.
    """
    name, alias = config.inference_model_name, config.inference_model_alias
    reference = Registry(config.tracking_uri).glance(name, alias)
    if reference is None:
        raise no_model(config)
    card = read_card(fetch_apart(reference, config.tracking_uri, config.cache_dir))
    records = Records.of(config)
    try:
        return look_at_line(config, records.database, reference, card.baseline)
    finally:
        records.close()


def last_look(config: Config) -> datetime:
    """Return the full hour (`monitoring.every_h`) at which the line was compared last."""
    every_s = config.monitoring.every_h * 3600
    return datetime.fromtimestamp(time.time() // every_s * every_s, UTC)


def look_at_line(
    config: Config,
    database: Database,
    model: ModelRef,
    baseline: Baseline | None,
) -> LineState:
    """Compare the latest inspections of a model with its baseline.

    Raises:
        RecordsError: the database can't be read.
    """
    at, settings = last_look(config), config.monitoring
    look = _Look(config, database, model, baseline, at)
    places = look.places()
    states = [look.at(place, len(places)) for place in (None, *places)]
    every = timedelta(hours=settings.every_h)
    alarms = [one for one in states if one.state == "alarm"]
    of_stations = [one for one in alarms if one is not states[0]]
    level = None if baseline is None else look.level(len(places))
    shown = of_stations[0] if len(of_stations) == 1 else (alarms or states)[0]
    return LineState(model.name, model.version, at, at + every, level, shown, tuple(states))


@dataclass(frozen=True, slots=True)
class _Look:
    """One comparison of a model's inspections with its baseline."""

    config: Config
    database: Database
    model: ModelRef
    baseline: Baseline | None
    moment: datetime

    @property
    def _key(self) -> tuple[str, int]:
        return self.model.name, self.model.version

    def places(self) -> list[Place]:
        """Return the stations that are compared on their own; none where there is only one."""
        settings = self.config.monitoring
        if self.baseline is None or not settings.by_station:
            return []
        size, product = settings.window, self.config.product
        found = find_places(self.database, self._key, self.moment, size=size, product=product)
        return found if len(found) > 1 else []

    def level(self, n_places: int) -> float:
        """Return the level of each test; all of the product is compared, too."""
        assert self.baseline is not None
        settings, n_tests = self.config.monitoring, len(self.baseline.quantiles) * (1 + n_places)
        return level_of(settings.false_alarms_per_year, settings.every_h, n_tests)

    def at(self, place: Place | None, n_places: int) -> PlaceState:
        """Compare all of the product, or one of its places."""
        settings, figures = self.config.monitoring, tuple[ComparedFigure, ...]()
        windows, more = list[Window](), 0
        in_a_row = settings.persistence if place is None else persistence_of(settings.persistence, n_places)
        if self.baseline is not None:
            windows, more = self._windows(place, in_a_row)
            figures = compare(
                [window.figures for window in windows],
                self.baseline,
                level=self.level(n_places),
                persistence=in_a_row,
                defect_rate=self.config.evaluation.defect_rate,
            )
        state = _state(self.baseline, windows, figures, in_a_row)
        message = _message(state, figures, self.model, in_a_row)
        return PlaceState(
            *(place or Place("", "")),
            state=state,
            cause=cause_of(figures),
            message=f"{place}: {message}" if place else message,
            inspections=len(windows) * settings.window + more,
            needed=in_a_row * settings.window,
            windows=tuple((window.since, window.until) for window in windows),
            figures=figures,
            moved_most=_moved_most(windows[0], figures) if windows else (),
        )

    def _windows(self, place: Place | None, count: int) -> tuple[list[Window], int]:
        settings = self.config.monitoring
        return find_windows(
            self.database,
            self._key,
            self.moment,
            size=settings.window,
            count=count,
            apart=timedelta(hours=settings.every_h),
            product=self.config.product,
            place=place,
        )


def _state(
    baseline: Baseline | None, windows: Sequence[Window], figures: Sequence[ComparedFigure], persistence: int
) -> State:
    if baseline is None:
        return "no baseline"
    if any(one.alarm for one in figures):
        return "alarm"
    if len(windows) < persistence:
        return "too few"
    return "differs" if any(one.in_a_row for one in figures) else "usual"


def _message(state: State, figures: Sequence[ComparedFigure], model: ModelRef, persistence: int) -> str:
    if state == "no baseline":
        return (
            f"{model} has no baseline for a comparison: an earlier version of the program trained it, or there were too few OK "
            "parts. To monitor the line, train and promote a model."
        )
    if state == "too few":
        return (
            "Too few inspections of this model to tell whether the line has drifted from the training images."
        )
    if state == "usual":
        return "The line has not drifted from the training images."
    camera_first = sorted(figures, key=lambda one: one.cause)
    moved = ", ".join(
        in_words(one) for one in camera_first if (one.alarm if state == "alarm" else one.in_a_row)
    )
    if state == "differs":
        return f"The last inspections differ from the training images: {moved}. An alarm needs {persistence} windows in a row."
    if cause_of(figures) == "camera":
        return (
            f"Clean the lens and check the light: {moved}. If lens and light are in order, the parts have changed: label images "
            "in Review."
        )
    return f"The parts have changed: {moved}. The figures of the camera did not change. Label the most novel images in Review."


def in_words(one: ComparedFigure) -> str:
    """Return how a figure moved: ``brightness fell from 131 to 117``."""
    verb = "rose" if one.difference.sign > 0 else "fell"
    before, after = (f"{spread.middle:.3g}" for spread in (one.usual, one.now))
    moved = f"{verb} from {before} to {after}" if before != after else f"spread around {after}"
    return f"{name_of(one.name)} {moved}"


def name_of(figure: str) -> str:
    """Return what people call a figure."""
    return figure.replace("_", " ")


def _moved_most(newest: Window, figures: Sequence[ComparedFigure]) -> tuple[MovedFigure, ...]:
    """Return the images farthest from the usual range, by the figure that moved most."""
    moved = [one for one in figures if one.alarm] or [one for one in figures if one.in_a_row]
    if not moved:
        return ()
    first = max(moved, key=lambda one: (one.cause == "camera", one.difference.distance))
    values = newest.figures[first.name]
    order = np.argsort(-first.difference.sign * values, kind="stable")[:MOVED_MOST]
    return tuple(MovedFigure(newest.ids[i], newest.names[i], first.name, float(values[i])) for i in order)


def range_of(spread: Spread) -> str:
    """Return the range of the middle 90 %: ``120 to 139``."""
    return f"{spread.low:.3g} to {spread.high:.3g}"
