"""Figures used only by the report: the trade-off on the line, and images with evidence map and mask outline."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from defect_detection.evaluation.logits import logit

from .costs import CostCurve, CostPoint
from .figures import DEFECTIVE, INK, MUTED, OK, PAPER, new_axes, new_figure, overlay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OUTLINE = np.array(
    [60, 230, 255], np.uint8
)  # RGB: stands out on gray parts and on the warm colours of the evidence
_TICKS = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
_EDGE = 1e-4  # scores nearer to 0 or 1 than this are drawn as that far


class EvidencePicture(NamedTuple):
    """An image with its evidence map and its mask, if known."""

    image: np.ndarray  # uint8 (height, width, 3), RGB
    evidence: np.ndarray | None = None  # float (h, w), higher = more defective
    defect: np.ndarray | None = None  # bool (height, width)


def views(picture: EvidencePicture, scale: tuple[float, float] | None) -> list[np.ndarray]:
    """Return the image with the outline of its defect, and the image with its evidence (if any); uint8, RGB.

    Args:
        scale: see `defect_detection.report.figures.overlay`.
    """
    image = picture.image if picture.defect is None else outlined(picture.image, picture.defect)
    if picture.evidence is None:
        return [image]
    return [image, overlay(picture.image, picture.evidence, scale)]


def outlined(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Draw a line around the mask, just outside of it, so the defect stays visible.

    Args:
        image: uint8 array of shape (height, width, 3), RGB.
        mask: bool array of shape (height, width).
    """
    width = max(1, len(image) // 110)
    near, line = _grown(mask, 2), _grown(mask, 2 + width)
    drawn = image.copy()
    drawn[line & ~near] = OUTLINE
    return drawn


def _grown(mask: np.ndarray, by: int) -> np.ndarray:
    for _ in range(by):
        padded = np.pad(mask, 1)
        mask = mask | padded[2:, 1:-1] | padded[:-2, 1:-1] | padded[1:-1, 2:] | padded[1:-1, :-2]
    return mask


def cost_chart(curve: CostCurve) -> "Figure":
    """Draw escaped parts, rejected OK parts and (where costs are known) their cost over the threshold, one below the other."""
    panels = [("escaped parts", DEFECTIVE, "escapes"), ("OK parts rejected", OK, "overkill")]
    n_panels = len(panels) + (curve.costs is not None)
    figure = new_figure(9.6, 1.15 + 1.65 * n_panels)
    x = _places(curve.points)
    chosen = _places([curve.chosen])[0]
    for place, (name, colour, field) in enumerate(panels, 1):
        axes = _panel(
            figure, n_panels, place, f"{name}\nper {curve.parts:,}".replace(",", "\u202f"), x, chosen
        )
        estimates = [getattr(point, field) for point in curve.points]
        axes.fill_between(
            x, [e.low for e in estimates], [e.high for e in estimates], color=colour, alpha=0.16, linewidth=0, step="pre"
        )  # fmt: skip
        axes.step(x, [e.value for e in estimates], where="pre", color=colour, linewidth=1.8)
        _mark(axes, chosen, getattr(curve.chosen, field).value, colour)
        axes.set_yscale("function", functions=(np.sqrt, np.square))  # the interesting range is near 0
        axes.set_ylim(0, 1.05 * max(e.high for e in estimates))
        _ticks(axes)
    if curve.cheapest is not None and curve.chosen.cost is not None:
        axes = _panel(figure, n_panels, n_panels, "their cost", x, chosen)
        axes.step(x, [point.cost for point in curve.points], where="pre", color=MUTED, linewidth=1.8)
        axes.plot(_places([curve.cheapest]), [curve.cheapest.cost], "D", color=MUTED, markersize=6)
        _mark(axes, chosen, curve.chosen.cost, INK)
        axes.set_ylim(bottom=0)
        _ticks(axes)
    return figure


def _places(points: Sequence[CostPoint]) -> np.ndarray:
    """Return thresholds as logits, which separates values near 0 and near 1."""
    return _logit([point.threshold for point in points])


def _logit(values: Sequence[float]) -> np.ndarray:
    return logit(np.clip(values, _EDGE, 1 - _EDGE))


def _panel(figure: "Figure", n_panels: int, place: int, label: str, x: np.ndarray, chosen: float) -> Any:
    last = place == n_panels
    axes = new_axes(figure, (n_panels, 1, place), "threshold" if last else "", label)
    axes.set_xticks(_logit(_TICKS), [f"{tick:g}" for tick in _TICKS])
    axes.tick_params(labelbottom=last)
    axes.axvline(chosen, color=INK, linewidth=1)
    right = (
        x[-2] + 0.4 if len(x) > 1 else x[-1]
    )  # the last point rejects nothing, so the curve is flat up to it
    axes.set_xlim(min(x[0], chosen) - 0.1, max(right, chosen + 0.4))
    return axes


def _ticks(axes: Any) -> None:
    axes.yaxis.get_major_locator().set_params(nbins=4)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}".replace(",", "\u202f"))


def _mark(axes: Any, x: float, y: float, colour: str) -> None:
    axes.plot(x, y, "o", color=colour, markeredgecolor=PAPER, markersize=9, zorder=5)
