"""The report on one model: what a quality engineer reads, and the same as JSON."""

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from . import figures
from .gate import Decision
from .metrics import Metrics, checked
from .operating_point import OperatingPoint, ReviewBand
from .outlook import Claim, Forecast, Review, evidence_text, forecast, review_workload, stronger_claims
from .rates import Frozen, escape_limit, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pictures = Mapping[str, tuple[np.ndarray, np.ndarray | None]]


class ModelInfo(Frozen):
    """Which model a report is about."""

    name: str
    version: str = ""
    run_id: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


class Mistake(Frozen):
    """One image on the wrong side of the threshold."""

    path: str
    score: float
    defect_type: str = ""


class Champion(Frozen):
    """The model in production, scored on the same split."""

    model: ModelInfo
    metrics: Metrics


class Report(Frozen):
    """Everything that the page shows, for machines."""

    model: ModelInfo
    created: str
    metrics: Metrics
    operating_point: OperatingPoint | None
    forecast: Forecast
    review: Review | None
    escape_limit: float
    claims: tuple[Claim, ...]
    more_defectives_needed: str
    worst_escapes: tuple[Mistake, ...]
    worst_overkills: tuple[Mistake, ...]
    champion: Champion | None
    decision: Decision | None
    notes: tuple[str, ...]

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The images worth seeing: pass their pictures to :func:`write_report`."""
        return self.worst_escapes + self.worst_overkills


def build_report(
    model: ModelInfo,
    metrics: Metrics,
    paths: Sequence[str | Path],
    scores: np.ndarray,
    labels: np.ndarray,
    *,
    defect_types: Sequence[str] | None = None,
    operating_point: OperatingPoint | None = None,
    review_band: ReviewBand | None = None,
    defect_rate: float = 0.01,
    champion: Champion | None = None,
    decision: Decision | None = None,
    notes: Sequence[str] = (),
    worst: int = 6,
) -> Report:
    """Gather what the report says.

    Args:
        metrics: of the scores below, on the test split.
        paths: one per image, as they shall be shown.
        scores: float array of shape (n_images,), P(defective) in [0, 1].
        labels: int array of shape (n_images,), 1 = defective, 0 = OK.
        operating_point: where the threshold comes from (the validation split).
        defect_rate: defective parts / all parts on the line.
        notes: what else a reader must know about the data, one sentence each.
        worst: images shown of each kind of mistake.
    """
    scores, labels = checked(scores, labels)
    types = defect_types or [""] * len(scores)
    called = scores >= metrics.threshold
    return Report(
        model=model,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        metrics=metrics,
        operating_point=operating_point,
        forecast=forecast(metrics, defect_rate),
        review=review_workload(scores, labels, review_band, metrics, defect_rate),
        escape_limit=escape_limit(metrics.fn, metrics.fn + metrics.tp, metrics.escape.confidence),
        claims=stronger_claims(metrics.escape),
        more_defectives_needed=evidence_text(metrics.escape),
        worst_escapes=_mistakes(paths, scores, types, ~called & (labels == 1), worst, lowest=True),
        worst_overkills=_mistakes(paths, scores, types, called & (labels == 0), worst, lowest=False),
        champion=champion,
        decision=decision,
        notes=tuple(notes),
    )


def write_report(
    report: Report, scores: np.ndarray, labels: np.ndarray, pictures: Pictures, folder: Path
) -> dict[str, Path]:
    """Write the report as one self-contained page, as JSON, and its figures as PNG files.

    Args:
        pictures: by the path of each of the report's mistakes its image (uint8, (height, width, 3), RGB) and
            evidence map (float, (h, w), or None); a mistake without a picture is shown by path and score.
        folder: is made when missing; files of an earlier report in it are replaced.

    Returns:
        The files by name: ``html``, ``json``, and one for each figure.
    """
    scores, labels = checked(scores, labels)
    charts = _charts(report, scores, labels)
    page = _render(report, {name: figures.to_svg(chart) for name, chart in charts.items()}, pictures)
    sheets = {name: _sheet(mistakes, pictures) for name, mistakes in _shown(report, pictures).items()}
    folder.mkdir(parents=True, exist_ok=True)
    files = {"html": folder / "report.html", "json": folder / "report.json"}
    files["html"].write_text(page, encoding="utf-8")
    files["json"].write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    for name, chart in (charts | sheets).items():
        files[name] = folder / f"{name}.png"
        files[name].write_bytes(figures.to_png(chart))
    return files


def _mistakes(
    paths: Sequence[str | Path],
    scores: np.ndarray,
    types: Sequence[str],
    wrong: np.ndarray,
    most: int,
    *,
    lowest: bool,
) -> tuple[Mistake, ...]:
    places = np.flatnonzero(wrong)
    order = np.argsort(scores[places] if lowest else -scores[places], kind="stable")
    return tuple(
        Mistake(path=str(paths[i]), score=float(scores[i]), defect_type=types[i])
        for i in places[order][:most]
    )


def _charts(report: Report, scores: np.ndarray, labels: np.ndarray) -> dict[str, "Figure"]:
    m = report.metrics
    return {
        "confusion_matrix": figures.confusion_matrix(m.tp, m.fp, m.tn, m.fn),
        "score_histogram": figures.score_histogram(scores, labels, m.threshold),
        "roc": figures.roc(scores, labels, m.threshold),
        "reliability": figures.reliability_diagram(scores, labels),
    }


def _shown(report: Report, pictures: Pictures) -> dict[str, list[Mistake]]:
    kinds = {"worst_escapes": report.worst_escapes, "worst_overkills": report.worst_overkills}
    seen = {name: [m for m in mistakes if m.path in pictures] for name, mistakes in kinds.items()}
    return {name: mistakes for name, mistakes in seen.items() if mistakes}


def _sheet(mistakes: Sequence[Mistake], pictures: Pictures) -> "Figure":
    tiles = [figures.Tile(*pictures[m.path], caption=f"{Path(m.path).name}  {m.score:.3f}") for m in mistakes]
    return figures.contact_sheet(tiles)


def _render(report: Report, charts: Mapping[str, str], pictures: Pictures) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("defect_detection.evaluation"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"percent": percent, "about": about}
    page = environment.get_template("report.html.j2").render(
        report=report,
        m=report.metrics,
        charts=charts,
        pictures=_inline_pictures(report, pictures),
    )
    return page.replace(" %", "\u00a0%")  # a number and its sign stay on one line


def about(count: float) -> str:
    """Return a number of parts as a person would say it: one decimal below 10, whole above."""
    if count >= 9.95:
        return f"{round(count):,}".replace(",", "\u202f")
    return f"{count:.1f}".removesuffix(".0") if count >= 0.1 or count == 0 else "under 0.1"


def _inline_pictures(report: Report, pictures: Pictures) -> dict[str, list[str]]:
    """Return the image and its overlay as data URLs, by path. All maps share one scale."""
    shown = {m.path: pictures[m.path] for m in report.mistakes if m.path in pictures}
    scale = figures.common_scale([evidence for _, evidence in shown.values()])
    urls = {}
    for path, (image, evidence) in shown.items():
        views = [image] if evidence is None else [image, figures.overlay(image, evidence, scale)]
        urls[path] = [_data_url(view) for view in views]
    return urls


def _data_url(image: np.ndarray) -> str:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
