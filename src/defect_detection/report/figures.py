"""Figures of results, for the report, the MLflow runs and single inspections.

Every chart is a matplotlib ``Figure`` of its own (no pyplot, no global state), in five colours that
:func:`to_svg` turns into CSS variables, so that the report's charts follow the page's light or dark colours.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from defect_detection.data.extent import Box, Extent
from defect_detection.evaluation.metrics import Bin, roc_curve
from defect_detection.evaluation.rates import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, GRID, OK, DEFECTIVE, PAPER = "#1d2733", "#687482", "#dde2e8", "#2b7a9b", "#c2512b", "#fefefe"
CSS_NAMES = {INK: "ink", MUTED: "muted", GRID: "line", OK: "ok", DEFECTIVE: "defective", PAPER: "card"}
HEAT = np.array([[255, 214, 90], [250, 130, 40], [214, 30, 50]], np.float32)  # weak to strong evidence, RGB
_BAND_PIXELS = 1_000_000  # of a large image that get their heat at a time: that takes up to 100 bytes each
HEAT_OPACITY = 0.75  # of the strongest evidence
_COLUMNS = 3  # of a contact sheet
DPI = 150  # of a PNG
LAYOUT: Literal["constrained"] = "constrained"  # what keeps labels and panels apart


@dataclass(frozen=True, slots=True)
class SheetTile:
    """One image of a contact sheet."""

    image: np.ndarray  # uint8 (height, width, 3), RGB
    evidence: np.ndarray | None  # float (h, w)
    caption: str


def training_curves(history: Mapping[str, Sequence[float]]) -> "Figure":
    """Draw one panel per metric over the epochs, training and validation together.

    Args:
        history: values per epoch; ``val_loss`` shares the panel of ``loss``.
    """
    names = list(dict.fromkeys(name.removeprefix("val_") for name in history))
    figure = new_figure(max(4.2, 3.6 * len(names)), 3.0)
    for place, name in enumerate(names, 1):
        axes = new_axes(figure, (1, len(names), place), "epoch", "")
        axes.set_title(name.replace("_", " "), loc="left", fontsize=10, color=INK)
        curves = ((name, "training", MUTED, "--"), (f"val_{name}", "validation", OK, "-"))
        for key, label, colour, line in curves:
            if key in history:
                epochs = np.arange(1, len(history[key]) + 1)
                axes.plot(epochs, history[key], line, color=colour, label=label, linewidth=1.8)
        axes.xaxis.get_major_locator().set_params(integer=True)
        add_legend(axes)
    return figure


def confusion_matrix(tp: int, fp: int, tn: int, fn: int) -> "Figure":
    """Draw the four counts, each with its share of the images that truly are so."""
    figure = new_figure(4.8, 3.5)
    axes = figure.add_subplot()
    cells = [
        (0, 1, tn, tn + fp, "passed", OK),
        (1, 1, fp, tn + fp, "overkill", DEFECTIVE),
        (0, 0, fn, tp + fn, "escaped", DEFECTIVE),
        (1, 0, tp, tp + fn, "caught", OK),
    ]
    for x, y, count, total, name, colour in cells:
        share = count / max(total, 1)
        axes.bar(x, 0.96, 0.96, y - 0.48, color=colour, alpha=0.06 + 0.3 * share, linewidth=0)
        axes.text(x, y + 0.08, f"{count}", ha="center", va="center", fontsize=20, color=INK)
        axes.text(
            x, y - 0.24, f"{name} · {percent(share)} %", ha="center", va="center", fontsize=9, color=INK
        )
    axes.set_xticks([0, 1], ["called OK", "called defective"])
    axes.set_yticks([0, 1], ["defective", "OK"])
    axes.set(xlim=(-0.5, 1.5), ylim=(-0.5, 1.5))
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=10, labelcolor=INK)
    axes.spines[:].set_visible(False)
    axes.set_facecolor("none")
    return figure


def roc(scores: np.ndarray, labels: np.ndarray, threshold: float) -> "Figure":
    """Draw caught defects against rejected OK parts over all thresholds, with the chosen one marked."""
    figure = new_figure(4.8, 3.5)
    axes = new_axes(figure, (1, 1, 1), "overkill: share of OK parts rejected", "share of defects caught")
    overkill, caught = roc_curve(scores, labels)
    axes.fill_between(overkill, caught, color=OK, alpha=0.1, linewidth=0)
    axes.plot([0, 1], [0, 1], ":", color=MUTED, linewidth=1)
    axes.plot(overkill, caught, color=OK, linewidth=1.8)
    x, y = (scores[labels == 0] >= threshold).mean(), (scores[labels == 1] >= threshold).mean()
    axes.plot(x, y, "o", color=DEFECTIVE, markeredgecolor=PAPER, markersize=8)
    text = f"threshold {threshold:.3g}\n{percent(y)} % caught\n{percent(x)} % overkill"
    axes.annotate(text, (x, y), (0.96, 0.08), ha="right", va="bottom", fontsize=9, color=INK, linespacing=1.5)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    return figure


def score_histogram(
    scores: np.ndarray, labels: np.ndarray, threshold: float, score: str = "score, P(defective)"
) -> "Figure":
    """Draw how the scores of OK and of defective images lie about the threshold, the wrong ones filled.

    Args:
        score: what it is called.
    """
    figure = new_figure(4.8, 3.5)
    edges = np.linspace(0, 1, 41)
    for place, (label, name, colour) in enumerate(((0, "OK", OK), (1, "defective", DEFECTIVE)), 1):
        axes = new_axes(figure, (2, 1, place), score if label else "", "images, root scale")
        own = scores[labels == label]
        wrong = (own >= threshold) != bool(label)
        for shown, opacity in ((own, 0.3), (own[wrong], 1)):
            axes.stairs(np.histogram(shown, edges)[0], edges, fill=True, color=colour, alpha=opacity)
        axes.axvline(threshold, color=INK, linewidth=1)
        text = f"{name}: {len(own)} images, {wrong.sum()} on the wrong side"
        axes.set_title(text, loc="left", fontsize=9, color=INK)
        axes.set_xlim(0, 1)
        axes.set_yscale("function", functions=(np.sqrt, np.square))  # one stray image stays visible
        axes.set_ylim(bottom=0)
        axes.yaxis.get_major_locator().set_params(integer=True, nbins=4)
        axes.tick_params(labelbottom=bool(label))
    return figure


def reliability_diagram(bars: Sequence[Bin]) -> "Figure":
    """Draw how often images with about this score are defective, with intervals."""
    figure = new_figure(4.8, 3.5)
    axes = new_axes(figure, (1, 1, 1), "score, P(defective)", "share truly defective")
    axes.plot([0, 1], [0, 1], ":", color=MUTED, linewidth=1)
    n_images = sum(each.defective.total for each in bars)
    for each in bars:
        rate = each.defective
        axes.plot([each.mean_score] * 2, [rate.low, rate.high], color=OK, alpha=0.45, linewidth=1.5)
        size = 4 + 6 * np.sqrt(rate.total / n_images)
        axes.plot(each.mean_score, rate.value, "o", color=OK, markeredgecolor=PAPER, markersize=size)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    return figure


def contact_sheet(tiles: Sequence[SheetTile]) -> "Figure":
    """Draw images, each beside its evidence map, on one sheet. The maps share one scale.

    Raises:
        ValueError: there is no tile.
    """
    if not tiles:
        raise ValueError("a contact sheet needs at least one image")
    columns = min(_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    figure = new_figure(3.6 * columns, 2.15 * rows)
    scale = common_scale([tile.evidence for tile in tiles])
    for place, tile in enumerate(tiles, 1):
        axes = figure.add_subplot(rows, columns, place)
        axes.imshow(side_by_side(tile.image, tile.evidence, scale))
        axes.set_title(
            tile.caption, fontsize=8, color=INK, loc="left", parse_math=False
        )  # $ in a name is no formula
        axes.axis("off")
    return figure


def side_by_side(
    image: np.ndarray, evidence: np.ndarray | None, scale: tuple[float, float] | None = None
) -> np.ndarray:
    """Return the image with its overlay to the right, a gap between; the image alone without evidence."""
    if evidence is None:
        return image
    gap = np.full((len(image), max(2, image.shape[1] // 40), 3), 255, np.uint8)
    return np.concatenate([image, gap, overlay(image, evidence, scale)], axis=1)


def common_scale(maps: Sequence[np.ndarray | None]) -> tuple[float, float] | None:
    """Return the evidence shown as nothing (median of all maps) and as strongest; None without maps.

    On one scale, a map without evidence stays clear beside one with much.
    """
    values = [np.ravel(each) for each in maps if each is not None]
    if not values:
        return None
    together = np.concatenate(values)
    return float(np.median(together)), float(together.max())


def overlay(
    image: np.ndarray,
    evidence: np.ndarray,
    scale: tuple[float, float] | None = None,
    extent: Extent | None = None,
) -> np.ndarray:
    """Return the image with the evidence as heat over it, clear where there is none.

    Args:
        image: uint8 array of shape (height, width, 3), RGB.
        evidence: float array of shape (h, w), higher = more defective.
        extent: the pixels of the image that the evidence covers; None: all of them.
        scale: evidence shown as nothing and as strongest; this map's own median and maximum by default.

    Returns:
        uint8 array of shape (height, width, 3), RGB.
    """
    low, high = scale or (float(np.median(evidence)), float(evidence.max()))
    strength = np.clip((evidence - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)
    extent = extent or Extent.whole((image.shape[1], image.shape[0]))
    region, result = extent.region, image.copy()
    rows = max(1, _BAND_PIXELS // region.width)
    for top in range(region.top, region.bottom, rows):
        band = Box(region.left, top, region.right, min(top + rows, region.bottom))
        part = slice(band.top, band.bottom), slice(band.left, band.right)
        result[part] = _heated(image[part], _stretched(strength, band, extent))
    return result


def _stretched(strength: np.ndarray, band: Box, extent: Extent) -> np.ndarray:
    """Return the part of a map over some pixels of an image, one value a pixel."""
    height, width = strength.shape
    x, y = width / extent.width, height / extent.height
    left, top = (band.left - extent.left) * x, (band.top - extent.top) * y
    right, bottom = (band.right - extent.left) * x, (band.bottom - extent.top) * y
    box = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
    size = (band.width, band.height)
    smooth = Image.fromarray(strength).resize(size, Image.Resampling.BICUBIC, box)
    return np.clip(np.asarray(smooth), 0, 1)


def _heated(image: np.ndarray, strength: np.ndarray) -> np.ndarray:
    stops = np.linspace(0, 1, len(HEAT))
    heat = np.stack([np.interp(strength, stops, HEAT[:, i]) for i in range(3)], axis=-1)
    opacity = (HEAT_OPACITY * strength**1.2)[..., None]
    return np.rint(image * (1 - opacity) + heat * opacity).astype(np.uint8)


def heat_scale(evidence: np.ndarray, verdict: str | None) -> tuple[float, float]:
    """Return what `overlay` shows of one inspected image as nothing and as strongest, in log-odds.

    Heat begins where a defect is as likely as not. An image that isn't OK as a whole, though no cell is defective alone, shows its
    most defective half instead: its verdict is never without a place.
    """
    high = float(evidence.max())
    if high > 0 or verdict == "ok":
        return 0.0, max(high, 1e-6)
    return float(np.median(evidence)), high


def to_png(figure: "Figure") -> bytes:
    """Return the figure as PNG on white paper."""
    lay_out(figure)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def to_svg(figure: "Figure") -> str:
    """Return the figure as an SVG element for a page that defines the variables of `CSS_NAMES`."""
    import matplotlib as mpl

    lay_out(figure)
    buffer = BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue().decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' id="[a-zA-Z]+_\d+"', "", svg)  # repeated in every figure, referred to by none
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*;?", "", svg)  # the page's own font
    for colour, name in CSS_NAMES.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg


def lay_out(figure: "Figure") -> None:
    """Find the place of all that is in the figure, once: with any layout engine, saving lays out and draws everything twice."""
    if engine := figure.get_layout_engine():
        engine.execute(figure)
        figure.set_layout_engine(None)  # "none" would leave a placeholder, which is an engine too


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of so many inches, outside pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=LAYOUT)
    FigureCanvasAgg(figure)
    return figure


def new_axes(figure: "Figure", place: tuple[int, int, int], x: str, y: str) -> Any:
    """Add a panel in our colours: `place` is rows, columns and number from 1; `x` and `y` are its labels."""
    axes = figure.add_subplot(*place)
    axes.set_xlabel(x, fontsize=9, color=MUTED)
    axes.set_ylabel(y, fontsize=9, color=MUTED)
    axes.tick_params(labelsize=8, labelcolor=MUTED, color=GRID, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GRID)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_facecolor("none")
    return axes


def add_legend(axes: Any) -> None:
    """Name the panel's curves."""
    axes.legend(frameon=False, fontsize=8, labelcolor=MUTED)
