"""Create the report on a scored candidate, with images, masks and evidence maps from the files."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from defect_detection.config import Config
from defect_detection.data.bounds import Limits
from defect_detection.data.framing import Framing
from defect_detection.data.manifest import NAME as MANIFEST
from defect_detection.data.manifest import Manifest
from defect_detection.data.masks import find_mask, read_mask
from defect_detection.data.parts import join, parts_of
from defect_detection.data.samples import Sample, labels_of
from defect_detection.errors import ImageError
from defect_detection.evaluation.gate import GateDecision
from defect_detection.evaluation.operating_point import Costs
from defect_detection.evaluation.rates import Estimate, Rate
from defect_detection.files.unfinished import working_folder, write_text
from defect_detection.model.card import Card
from defect_detection.model.type_rule import UNKNOWN
from defect_detection.report.charts import EvidencePicture
from defect_detection.report.page import GALLERIES, write_report
from defect_detection.report.report import Champion, EvidenceAndMasks, ModelInfo, Report, build_report
from defect_detection.report.type_answers import TypeAnswers, type_answers
from defect_detection.report.unseen import DrawnDefects, unseen
from defect_detection.text import from_root, markdown, printable
from defect_detection.tracking.reading import ModelRef
from defect_detection.use_cases.scoring import Scored, readable, truth_of

MOST_THREADS = 4  # that read masks, each at its full size


@dataclass(frozen=True)
class PreparedReport:
    """A report that is drawn but not published yet, with what it is drawn from.

    Attributes:
        contents: by the name of the file.
        files: by what they are: ``html``, ``json``, ``summary``, and one for each figure; where `publish` puts them.
        scores, labels, pictures: as `write_report` takes them.
    """

    report: Report
    contents: dict[str, bytes]
    files: dict[str, Path]
    scores: np.ndarray
    labels: np.ndarray
    pictures: dict[str, EvidencePicture]
    manifest: Manifest | None = None

    def decided(self, decision: GateDecision) -> "PreparedReport":
        """Write the report again with another decision, after the first could not be carried out."""
        report = self.report.model_copy(update={"decision": decision})
        folder = self.files["json"].parent
        return _prepared(report, self.scores, self.labels, self.pictures, folder, self.manifest)

    def write(self, folder: Path) -> None:
        for name, content in self.contents.items():
            (folder / name).write_bytes(content)

    def publish(self) -> None:
        """Put it where the user looks, in place of the earlier report; other files there stay.

        Call this after the decision was carried out. Each file is written atomically, those with the decision last.
        """
        folder = self.files["json"].parent
        folder.mkdir(parents=True, exist_ok=True)
        with working_folder(folder) as work:
            self.write(work)
            for name in sorted(self.contents, key=lambda name: not name.endswith(".png")):
                (work / name).replace(folder / name)
        optional = {f"{gallery}.png" for gallery in GALLERIES} | {MANIFEST}
        for name in optional - self.contents.keys():
            (folder / name).unlink(missing_ok=True)


def make_report(
    candidate: Scored,
    champion: Scored | None,
    decision: GateDecision,
    samples: Sequence[Sample],
    config: Config,
    *,
    facts: Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
    drawn: DrawnDefects | None = None,
    manifest: Manifest | None = None,
) -> PreparedReport:
    """Draw the report on the test split. The code that carries out the decision publishes it.

    Args:
        candidate, champion: scored on `samples`.
        facts: name and text of further facts about the reliability of the figures.
        notes: what a reader must know about the data, one sentence each.
        drawn: what drawn defects came to.
        manifest: the list of the candidate's images, which the report links.
    """
    masks, unusable = _masks(samples, candidate.inspector.card.frame.overview, config)
    card = candidate.inspector.card
    report = build_report(
        _info(candidate.reference, card, manifest),
        candidate.metrics,
        _shown(samples, config),
        candidate.scores,
        labels_of(samples),
        defect_types=[sample.defect_type for sample in samples],
        parts=_shown_parts(samples, config),
        evidence=EvidenceAndMasks(candidate.evidence, masks, card.frame.seen),
        operating_point=card.operating_point,
        review_band=card.review,
        defect_rate=config.evaluation.defect_rate,
        costs=_costs(config),
        champion=_champion(champion),
        decision=decision,
        facts=facts,
        notes=[*notes, *unusable],
        score_is_anomaly=card.kind == "one_class",
        unseen=unseen(card.types_left_out, card.defect_types, drawn),
        type_answers=_type_answers(candidate, samples, config),
    )
    pictures = _pictures(report, candidate, samples, masks, config)
    return _prepared(report, candidate.scores, labels_of(samples), pictures, config.report_dir, manifest)


def _type_answers(scored: Scored, samples: Sequence[Sample], config: Config) -> TypeAnswers | None:
    """Return how the model names the types of caught images; None of a model that names none."""
    if scored.types is None:
        return None
    caught = [
        i
        for i, one in enumerate(samples)
        if one.defect_types and scored.scores[i] >= scored.metrics.threshold
    ]
    chosen = [samples[i] for i in caught]
    return type_answers(
        [scored.types[i] for i in caught],
        [truth_of(one, scored) for one in chosen],
        UNKNOWN,
        config.evaluation.confidence,
        parts_of(chosen),
    )


def report_numbers(report: Report) -> dict[str, float]:
    """Return further figures of the report for the MLflow run: intervals, the line, the evidence."""
    m, f = report.metrics, report.forecast
    plain: dict[str, Rate | Estimate | None] = {"accuracy": m.accuracy, "overkill_rate": m.overkill}
    plain |= {"escape_rate": m.escape if m.escape.total else None}
    plain |= {"auroc": m.auroc, "average_precision": m.average_precision}
    more: dict[str, Rate | Estimate | None] = {
        "escapes_per_10000": f.escapes,
        "overkill_per_10000": f.overkill,
    }
    more |= {"pointing_accuracy": report.pointing.all if report.pointing else None}
    more |= {"pixel_auroc": report.pixel_auroc}
    known = {name: one for name, one in (plain | more).items() if one is not None}
    numbers = {f"{name}_{end}": getattr(one, end) for name, one in known.items() for end in ("low", "high")}
    numbers |= {name: one.value for name, one in known.items() if name in more}
    numbers |= {"log_loss": m.log_loss, "calibration_error": m.calibration_error}
    if report.border:
        numbers["evidence_on_border"] = report.border.share
    if report.cost_curve and report.cost_curve.chosen.cost is not None:
        numbers["cost_per_10000"] = report.cost_curve.chosen.cost
    return {f"test_{name}": value for name, value in numbers.items()}


def _masks(
    samples: Sequence[Sample], framing: Framing, config: Config
) -> tuple[dict[int, np.ndarray], list[str]]:
    """Return the masks of defective images by position, as the model sees images, and a note where some can't be used."""
    paths = {i: path for i, sample in enumerate(samples) if (path := find_mask(sample, config.data.test_dir))}

    def read(path: Path) -> np.ndarray | str:
        try:
            return read_mask(path, framing, Limits.of(config.data))
        except ImageError as error:
            return str(error)

    with ThreadPoolExecutor(MOST_THREADS) as threads:
        found = dict(zip(paths, threads.map(read, paths.values()), strict=True))
    masks = {i: mask for i, mask in found.items() if not isinstance(mask, str)}
    unusable = [reason for reason in found.values() if isinstance(reason, str)]
    if not unusable:
        return masks, []
    count = "1 mask was" if len(unusable) == 1 else f"{len(unusable)} masks were"
    return masks, [f"{count} left out of the section on the evidence, such as {unusable[0]}"]


def _shown(samples: Sequence[Sample], config: Config) -> list[str]:
    """Return paths for readers: relative to the folder of the settings if they are inside it."""
    return [printable(from_root(sample.path, config.root)) for sample in samples]


def _shown_parts(samples: Sequence[Sample], config: Config) -> list[str]:
    """Return the part of each image as a reader knows it; "" for a part of one image."""
    names: dict[Path, str] = {}
    for part in join(samples):
        first = part.samples[0]
        name = first.group or f"copies of {_shown([first], config)[0]}"
        names |= {sample.path: name if len(part.samples) > 1 else "" for sample in part.samples}
    return [names[sample.path] for sample in samples]


def _info(reference: ModelRef, card: Card, manifest: Manifest | None = None) -> ModelInfo:
    listed = manifest.sha256 if manifest else ""
    return ModelInfo(name=card.name, version=str(reference), run_id=reference.run_id, manifest=listed)


def _costs(config: Config) -> Costs | None:
    costs = config.evaluation.operating_point.costs
    return Costs(escape=costs.escape, overkill=costs.overkill) if costs else None


def _champion(champion: Scored | None) -> Champion | None:
    if champion is None:
        return None
    return Champion(model=_info(champion.reference, champion.inspector.card), metrics=champion.metrics)


def _pictures(
    report: Report,
    candidate: Scored,
    samples: Sequence[Sample],
    masks: dict[int, np.ndarray],
    config: Config,
) -> dict[str, EvidencePicture]:
    if not report.shown:
        return {}
    places = {path: i for i, path in enumerate(_shown(samples, config))}
    chosen = [places[path] for path in report.shown]
    store = readable([samples[i] for i in chosen], candidate.inspector.card, config)
    images = store.rows([samples[i].sha256 for i in chosen])
    return {
        path: EvidencePicture(image, candidate.evidence[i], masks.get(i))
        for path, image, i in zip(report.shown, images, chosen, strict=True)
    }


def _prepared(
    report: Report,
    scores: np.ndarray,
    labels: np.ndarray,
    pictures: dict[str, EvidencePicture],
    folder: Path,
    manifest: Manifest | None,
) -> PreparedReport:
    with working_folder() as drawn:
        files = write_report(report, scores, labels, pictures, drawn)
        files["summary"] = _write_summary(report, drawn)
        if manifest:
            files["manifest"] = drawn / MANIFEST
            write_text(files["manifest"], manifest.text)
        contents = {path.name: path.read_bytes() for path in files.values()}
    places = {kind: folder / path.name for kind, path in files.items()}
    return PreparedReport(report, contents, places, scores, labels, pictures, manifest)


def _write_summary(report: Report, folder: Path) -> Path:
    """Write the few lines that a build's summary or a message shows, as Markdown."""
    metrics, decision = report.metrics, report.decision
    rows = [
        ("accuracy", metrics.accuracy),
        ("escapes (defective parts passed)", metrics.escape),
        ("overkill (OK parts rejected)", metrics.overkill),
        *([("AUROC", metrics.auroc)] if metrics.auroc else []),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    facts = [fact.text for fact in report.facts]
    said = (*(decision.reasons if decision else ()), *facts, *report.notes)
    reasons = "\n".join(f"- {markdown(reason)}" for reason in said)
    outcome = decision.outcome.upper() if decision else ""
    path = folder / "summary.md"
    text = f"## {markdown(report.model)}: {outcome}\n\n| on {metrics.n} test images | |\n| --- | --- |\n{table}\n\n{reasons}\n"
    write_text(path, text)
    return path
