"""Pictures that compare hyperparameter sets, and the trials of a search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .figures import DEFECTIVE, INK, MUTED, OK, add_legend, new_axes, new_figure
from .rates import Estimate, Rate

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Compared:
    """One hyperparameter set among others: its validation figures, and how long it took."""

    name: str
    auroc: Estimate
    log_loss: float
    escape: Rate
    overkill: Rate
    seconds: float


@dataclass(frozen=True, slots=True)
class Searched:
    """One trial of a search: what was tried, and its validation AUROC; None of one that was pruned."""

    values: Mapping[str, Any]
    auroc: float | None


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


def search_course(trials: Sequence[Searched]) -> "Figure":
    """Draw a search: AUROC over the trials with the best so far, and over each hyperparameter that was searched.

    Pruned trials are crosses at the lower edge.
    """
    names = list(dict.fromkeys(name for trial in trials for name in trial.values))
    done = [trial.auroc for trial in trials if trial.auroc is not None]
    floor = min(done, default=0.0) - 0.05 * (max(done, default=1.0) - min(done, default=0.0))
    columns = min(4, 1 + len(names))
    rows = -(-(1 + len(names)) // columns)
    figure = new_figure(3.3 * columns, 2.7 * rows)
    course = new_axes(figure, (rows, columns, 1), "trial", "validation AUROC")
    _dots(course, list(range(1, len(trials) + 1)), trials, floor)
    best = np.maximum.accumulate([floor if trial.auroc is None else trial.auroc for trial in trials])
    course.plot(range(1, len(trials) + 1), best, color=OK, linewidth=1.5, drawstyle="steps-post")
    for place, name in enumerate(names, 2):
        axes = new_axes(figure, (rows, columns, place), name, "")
        tried = [trial for trial in trials if name in trial.values]
        _dots(axes, _on_an_axis(axes, [trial.values[name] for trial in tried]), tried, floor)
    return figure


def _on_an_axis(axes: Any, values: Sequence[Any]) -> Sequence[Any]:
    """Return numbers as they are, on a logarithmic axis where they span decades; anything else as text, in order."""
    if not all(isinstance(value, int | float) for value in values):
        texts = [", ".join(value) if isinstance(value, list) else str(value) for value in values]
        order = sorted(set(texts))
        axes.set_xticks(range(len(order)), order)
        return [order.index(text) for text in texts]
    if min(values) > 0 and max(values) >= 10 * min(values):
        axes.set_xscale("log")
    return values


def _dots(axes: Any, places: Sequence[float], trials: Sequence[Searched], floor: float) -> None:
    for pruned, marker, colour in ((False, "o", OK), (True, "x", MUTED)):
        chosen = [(x, t.auroc) for x, t in zip(places, trials, strict=True) if (t.auroc is None) == pruned]
        heights = [floor if y is None else y for _, y in chosen]
        axes.plot([x for x, _ in chosen], heights, marker, color=colour, markersize=5, alpha=0.8)
