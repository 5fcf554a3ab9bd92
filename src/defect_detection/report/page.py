"""Write the report: a self-contained printable page, the same as JSON, and the figures as PNG files."""

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from defect_detection.evaluation.metrics import checked
from defect_detection.files.unfinished import write_text

from . import figures
from .charts import EvidencePicture, cost_chart, views
from .rendering import template
from .report import Mistake, Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THUMBNAIL = (96, 96)  # px
MOST_TYPES = 20  # defect types on the page; the JSON has all

GALLERIES = ("worst_escapes", "worst_overkills", "caught_elsewhere")  # a report has those that hold an image

Pictures = Mapping[str, EvidencePicture]


def write_report(
    report: Report, scores: np.ndarray, labels: np.ndarray, pictures: Pictures, folder: Path
) -> dict[str, Path]:
    """Write the report as one self-contained page, as JSON, and its figures as PNG files.

    Args:
        pictures: by the path of each image of `report.shown`; one without a picture is shown by path and score.
        folder: is made when missing; files of an earlier report in it are replaced.

    Returns:
        The files by name: ``html``, ``json``, and one for each figure.
    """
    scores, labels = checked(scores, labels, needed=())
    charts = _charts(report, scores, labels)
    page = _render(report, {name: figures.to_svg(chart) for name, chart in charts.items()}, pictures)
    sheets = {name: _sheet(mistakes, pictures) for name, mistakes in _galleries(report, pictures).items()}
    folder.mkdir(parents=True, exist_ok=True)
    files = {"html": folder / "report.html", "json": folder / "report.json"}
    write_text(files["html"], page)
    write_text(files["json"], report.model_dump_json(indent=2) + "\n")
    for name, chart in (charts | sheets).items():
        files[name] = folder / f"{name}.png"
        files[name].write_bytes(figures.to_png(chart))
    return files


def _charts(report: Report, scores: np.ndarray, labels: np.ndarray) -> dict[str, "Figure"]:
    m = report.metrics
    score = "anomaly score" if report.score_is_anomaly else "score, P(defective)"
    charts = {
        "confusion_matrix": figures.confusion_matrix(m.tp, m.fp, m.tn, m.fn),
        "score_histogram": figures.score_histogram(scores, labels, m.threshold, score),
    }
    if m.auroc:
        charts["roc"] = figures.roc(scores, labels, m.threshold)
    if report.reliability:
        charts["reliability"] = figures.reliability_diagram(report.reliability)
    if report.cost_curve:
        charts["cost_curve"] = cost_chart(report.cost_curve)
    return charts


def _galleries(report: Report, pictures: Pictures) -> dict[str, list[Mistake]]:
    kinds = {name: getattr(report, name) for name in GALLERIES}
    seen = {name: [m for m in mistakes if m.path in pictures] for name, mistakes in kinds.items()}
    return {name: mistakes for name, mistakes in seen.items() if mistakes}


def _sheet(mistakes: Sequence[Mistake], pictures: Pictures) -> "Figure":
    tiles = [
        figures.SheetTile(
            pictures[m.path].image, pictures[m.path].evidence, f"{Path(m.path).name}  {m.score:.3f}"
        )
        for m in mistakes
    ]
    return figures.contact_sheet(tiles)


def _render(report: Report, charts: Mapping[str, str], pictures: Pictures) -> str:
    page = template("report.html.j2").render(
        report=report,
        m=report.metrics,
        charts=charts,
        pictures=_inline_pictures(report, pictures),
        thumbnails=_thumbnails(report, pictures),
        most_types=MOST_TYPES,
    )
    return page.replace(" %", "\u00a0%")  # a number and its sign stay on one line


def _inline_pictures(report: Report, pictures: Pictures) -> dict[str, list[str]]:
    """Return the image and its overlay as data URLs, by path. All maps share one scale."""
    paths = dict.fromkeys(m.path for mistakes in _galleries(report, pictures).values() for m in mistakes)
    scale = figures.common_scale([pictures[path].evidence for path in paths])
    return {path: [_data_url(view) for view in views(pictures[path], scale)] for path in paths}


def _thumbnails(report: Report, pictures: Pictures) -> dict[str, str]:
    """Return a small picture of each defect type's hardest image as a data URL, by path."""
    paths = [each.hardest for each in report.defect_types[:MOST_TYPES] if each.hardest in pictures]
    return {path: _data_url(views(pictures[path], None)[0], THUMBNAIL) for path in paths}


def _data_url(image: np.ndarray, size: tuple[int, int] | None = None) -> str:
    picture = Image.fromarray(image)
    if size is not None:
        picture.thumbnail(size)
    buffer = BytesIO()
    picture.save(buffer, format="JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
