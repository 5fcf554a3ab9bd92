"""Pictures that compare hyperparameter sets, and the trials of a search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from defect_detection.evaluation.rates import Estimate, Rate

from .figures import DEFECTIVE, INK, MUTED, OK, add_legend, new_axes, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LABELS = {"auroc": "AUROC", "log_loss": "log loss"}


@dataclass(frozen=True, slots=True)
class Compared:
    """One hyperparameter set in the comparison: its validation figures and training time."""

    name: str
    auroc: Estimate
    log_loss: float
    escape: Rate
    overkill: Rate
    seconds: float


@dataclass(frozen=True, slots=True)
class Searched:
    """One trial of a search: its values and validation figures (None if it was pruned)."""

    values: Mapping[str, Any]
    auroc: float | None
    log_loss: float | None


def comparison(rows: Sequence[Compared]) -> "Figure":
    """Draw hyperparameter sets one below the other: AUROC and both rates with their intervals, log loss, seconds."""
    figure = new_figure(13.0, 1.2 + 0.42 * len(rows))
    places = np.arange(len(rows))
    panels = [new_axes(figure, (1, 4, place), "", "") for place in range(1, 5)]
    titles = ("AUROC", "log loss", "escapes and overkill", "seconds")
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, loc="left", fontsize=10, color=INK)
        axes.set_yticks(places, [row.name for row in rows] if axes is panels[0] else [])
        axes.set_ylim(len(rows) - 0.5, -0.5)
    _intervals(panels[0], [row.auroc for row in rows], places, OK, "")
    panels[1].barh(places, [row.log_loss for row in rows], 0.5, color=MUTED)
    _intervals(panels[2], [row.escape for row in rows], places - 0.12, DEFECTIVE, "escapes")
    _intervals(panels[2], [row.overkill for row in rows], places + 0.12, OK, "overkill")
    panels[3].barh(places, [row.seconds for row in rows], 0.5, color=MUTED)
    add_legend(panels[2])
    return figure


def _intervals(
    axes: Any, estimates: Sequence[Estimate | Rate], places: np.ndarray, colour: str, label: str
) -> None:
    for estimate, place in zip(estimates, places, strict=True):
        axes.plot([estimate.low, estimate.high], [place, place], color=colour, alpha=0.45, linewidth=1.5)
    axes.plot([estimate.value for estimate in estimates], places, "o", color=colour, label=label)


def search_course(trials: Sequence[Searched], by: Literal["auroc", "log_loss"]) -> "Figure":
    """Draw a search: a figure over the trials with the best so far, and over each hyperparameter that was searched.

    Pruned trials are crosses at the worst edge. Where AUROC is 1 for all, log loss still tells them apart.
    """
    names = list(dict.fromkeys(name for trial in trials for name in trial.values))
    heights = _with_pruned([getattr(trial, by) for trial in trials], worst_is_low=by == "auroc")
    pruned = np.array([trial.auroc is None for trial in trials])
    columns = min(4, 1 + len(names))
    rows = -(-(1 + len(names)) // columns)
    figure = new_figure(3.3 * columns, 2.7 * rows)
    course = new_axes(figure, (rows, columns, 1), "trial", f"validation {_LABELS[by]}")
    order = np.arange(1, len(trials) + 1)
    _dots(course, order, heights, pruned)
    best = (np.maximum if by == "auroc" else np.minimum).accumulate(heights)
    course.plot(order, best, color=OK, linewidth=1.5, drawstyle="steps-post")
    course.xaxis.get_major_locator().set_params(integer=True)
    for place, name in enumerate(names, 2):
        axes = new_axes(figure, (rows, columns, place), name, "")
        tried = np.array([name in trial.values for trial in trials])
        places = _on_an_axis(axes, [trial.values[name] for trial in trials if name in trial.values])
        _dots(axes, np.array(places), heights[tried], pruned[tried])
    return figure


def _with_pruned(figures: Sequence[float | None], worst_is_low: bool) -> np.ndarray:
    """Return the figures, with a place a little beyond the worst for those that have none."""
    known = [value for value in figures if value is not None] or [0.0]
    margin = max(0.05 * (max(known) - min(known)), 1e-3)
    edge = min(known) - margin if worst_is_low else max(known) + margin
    return np.array([edge if value is None else value for value in figures])


def _on_an_axis(axes: Any, values: Sequence[Any]) -> Sequence[Any]:
    """Return numbers for an axis (logarithmic if they span decades), and other values as sorted text."""
    if not all(isinstance(value, int | float) for value in values):
        texts = [", ".join(value) if isinstance(value, list) else str(value) for value in values]
        order = sorted(set(texts))
        axes.set_xticks(range(len(order)), order)
        return [order.index(text) for text in texts]
    if min(values) > 0 and max(values) >= 10 * min(values):
        axes.set_xscale("log")
    return values


def _dots(axes: Any, places: np.ndarray, heights: np.ndarray, pruned: np.ndarray) -> None:
    for chosen, marker, colour in ((~pruned, "o", OK), (pruned, "x", MUTED)):
        axes.plot(places[chosen], heights[chosen], marker, color=colour, markersize=5, alpha=0.8)
