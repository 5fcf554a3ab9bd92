"""Say whether the line still is what the model in production learned."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np

from defect_detection.config import Config
from defect_detection.errors import NoModelError
from defect_detection.evaluation.drift import Baseline, Cause, Compared, Spread, cause_of, compare, level_of
from defect_detection.model.bundle import read_card
from defect_detection.records.database import Database
from defect_detection.records.store import Records
from defect_detection.records.windows import Window, find_windows
from defect_detection.tracking.fetch import fetch_apart
from defect_detection.tracking.reading import ModelRef
from defect_detection.tracking.registry import Registry

State = Literal["usual", "differs", "alarm", "too few", "no baseline"]
MOVED_MOST = 12  # images that are shown


@dataclass(frozen=True, slots=True)
class Moved:
    """An inspection of the newest window that is far from what is usual. figure: which of its figures is, and its value."""

    id: str
    name: str
    figure: str
    value: float


@dataclass(frozen=True, slots=True)
class LineState:
    """The answer at one moment. It is the same for every server, the page and the command line.

    cause: of an alarm: the camera (lens, light), or the parts. message: in words, with what to do.
    inspections: in windows and towards the next one; needed: for `persistence` windows.
    level: of each test. windows: newest first. moved_most: of an alarm, or of a window that differs.
    """

    model: str
    version: int
    state: State
    cause: Cause | None
    message: str
    compared_at: datetime
    next_at: datetime
    inspections: int
    needed: int
    level: float | None
    windows: tuple[tuple[datetime, datetime], ...]
    figures: tuple[Compared, ...]
    moved_most: tuple[Moved, ...]

    @property
    def asks_for_labels(self) -> bool:
        """Whether labels of the most novel images would help: where the camera moved, they would teach a dirty lens."""
        return self.cause == "parts" and any(one.name == "novelty" for one in self.figures)

    def to_json(self) -> dict[str, Any]:
        """Return the record that the API and ``defect monitor --json`` give."""
        record = asdict(self) | {"asks_for_labels": self.asks_for_labels}
        record["windows"] = [
            {"since": since.isoformat(), "until": until.isoformat()} for since, until in self.windows
        ]
        return record | {name: record[name].isoformat() for name in ("compared_at", "next_at")}


def monitor(config: Config) -> LineState:
    """Compare the line with the model in production.

    Raises:
        NoModelError: none is. TrackingError: it can't be fetched. RecordsError: the database can't be read.
    """
    name, alias = config.inference_model_name, config.inference_model_alias
    reference = Registry(config.tracking_uri).glance(name, alias)
    if reference is None:
        raise NoModelError(
            f"No model is promoted as {name}@{alias}: run 'defect train{config.option}' and "
            f"'defect evaluate{config.option}'."
        )
    card = read_card(fetch_apart(reference, config.tracking_uri, config.cache_dir))
    records = Records.of(config)
    try:
        return look_at_line(config, records.database, reference, card.baseline)
    finally:
        records.close()


def last_look(config: Config, now: datetime | None = None) -> datetime:
    """Return the full hour (`monitoring.every_h`) at which the line was compared last."""
    every_s = config.monitoring.every_h * 3600
    now = now or datetime.now(UTC)
    return datetime.fromtimestamp(now.timestamp() // every_s * every_s, UTC)


def look_at_line(
    config: Config,
    database: Database,
    model: ModelRef,
    baseline: Baseline | None,
    now: datetime | None = None,
) -> LineState:
    """Compare the latest inspections of a model with its baseline.

    Raises:
        RecordsError: the database can't be read.
    """
    settings, at = config.monitoring, last_look(config, now)
    every = timedelta(hours=settings.every_h)
    windows, more, level = list[Window](), 0, None
    figures: tuple[Compared, ...] = ()
    if baseline is not None:
        key, size = (model.name, model.version), settings.window
        level = level_of(settings.false_alarms_per_year, settings.every_h, len(baseline.quantiles))
        windows, more = find_windows(
            database, key, at, size=size, count=settings.persistence, apart=every, product=config.product
        )
        figures = compare(
            [window.figures for window in windows],
            baseline,
            level=level,
            persistence=settings.persistence,
            defect_rate=config.evaluation.defect_rate,
        )
    state = _state(baseline, windows, figures, settings.persistence)
    return LineState(
        model=model.name,
        version=model.version,
        state=state,
        cause=cause_of(figures),
        message=_message(state, figures, model, settings.persistence),
        compared_at=at,
        next_at=at + every,
        inspections=len(windows) * settings.window + more,
        needed=settings.persistence * settings.window,
        level=level,
        windows=tuple((window.since, window.until) for window in windows),
        figures=figures,
        moved_most=_moved_most(windows[0], figures) if windows else (),
    )


def _state(
    baseline: Baseline | None, windows: Sequence[Window], figures: Sequence[Compared], persistence: int
) -> State:
    if baseline is None:
        return "no baseline"
    if any(one.alarm for one in figures):
        return "alarm"
    if len(windows) < persistence:
        return "too few"
    return "differs" if any(one.in_a_row for one in figures) else "usual"


def _message(state: State, figures: Sequence[Compared], model: ModelRef, persistence: int) -> str:
    if state == "no baseline":
        return (
            f"{model} brings no baseline to compare the line with: an earlier version of the program trained it, or too few "
            "OK parts. Train and promote a model to compare the line."
        )
    if state == "too few":
        return "Too few inspections of this model to tell whether the line is what the model learned."
    if state == "usual":
        return "The line is what the model learned."
    camera_first = sorted(figures, key=lambda one: one.cause)
    moved = ", ".join(
        in_words(one) for one in camera_first if (one.alarm if state == "alarm" else one.in_a_row)
    )
    if state == "differs":
        return f"The last inspections differ from the training images: {moved}. {persistence} windows in a row are an alarm."
    if cause_of(figures) == "camera":
        return (
            f"Clean the lens and check the light: {moved}. If lens and light are in order, the parts have changed: label images "
            "in Review."
        )
    return f"The parts have changed: {moved}. The figures of the camera did not move. Label the most novel images in Review."


def in_words(one: Compared) -> str:
    """Return how a figure moved: ``brightness fell from 131 to 117``."""
    verb = "rose" if one.difference.sign > 0 else "fell"
    before, after = (f"{spread.middle:.3g}" for spread in (one.usual, one.now))
    moved = f"{verb} from {before} to {after}" if before != after else f"spread around {after}"
    return f"{name_of(one.name)} {moved}"


def name_of(figure: str) -> str:
    """Return what people call a figure."""
    return figure.replace("_", " ")


def _moved_most(newest: Window, figures: Sequence[Compared]) -> tuple[Moved, ...]:
    """Return the images farthest from the usual range, by the figure that moved most."""
    moved = [one for one in figures if one.alarm] or [one for one in figures if one.in_a_row]
    if not moved:
        return ()
    first = max(moved, key=lambda one: (one.cause == "camera", one.difference.distance))
    values = newest.figures[first.name]
    order = np.argsort(-first.difference.sign * values, kind="stable")[:MOVED_MOST]
    return tuple(Moved(newest.ids[i], newest.names[i], first.name, float(values[i])) for i in order)


def range_of(spread: Spread) -> str:
    """Return the range of the middle 90 %: ``120 to 139``."""
    return f"{spread.low:.3g} to {spread.high:.3g}"
