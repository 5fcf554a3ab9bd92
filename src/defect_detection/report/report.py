"""The content of the report on one model. `page` writes it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from defect_detection.evaluation.claims import PartScores
from defect_detection.evaluation.gate import GateDecision
from defect_detection.evaluation.metrics import Bin, Metrics, checked, reliability
from defect_detection.evaluation.operating_point import Costs, OperatingPoint, ReviewBand
from defect_detection.evaluation.parts import numbered
from defect_detection.evaluation.rates import Estimate, Frozen, Rate, escape_limit
from defect_detection.text import utc_now

from .costs import CostCurve, cost_curve
from .localisation import Border, Pointing, border, defect_cells, evidence_remark, pointing, points_at
from .located import Located, locate
from .outlook import Claim, Forecast, Review, evidence_text, forecast, review_workload, stronger_claims
from .pixel_auroc import pixel_auroc
from .slices import DefectType, Groups, by_defect_type, by_part
from .type_answers import TypeAnswers
from .unseen import Unseen

SCHEMA_VERSION: Literal[1] = 1  # raise it when a field of the JSON goes away or changes its meaning


class ModelInfo(Frozen):
    """Which model a report is about. manifest: SHA-256 of the list of its images, which lies beside the report; "" without one."""

    name: str
    version: str = ""
    run_id: str = ""
    manifest: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


class Mistake(Frozen):
    """One image with a wrong verdict, or with its evidence elsewhere than on the defect."""

    path: str
    score: float
    defect_type: str = ""


class Champion(Frozen):
    """The model in production, scored on the same split."""

    model: ModelInfo
    metrics: Metrics


class Fact(Frozen):
    """One line of "How far this can be trusted"."""

    name: str
    text: str


class Report(Frozen):
    """Everything that the page shows, for machines.

    Without defective test images escapes are unknown: see `Metrics`; cost_curve is None then. score_is_anomaly: the score is not
    P(defective), since the model learned from OK images alone; reliability is empty then.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    score_is_anomaly: bool = False
    model: ModelInfo
    created: str
    metrics: Metrics
    operating_point: OperatingPoint | None
    forecast: Forecast
    cost_curve: CostCurve | None
    review: Review | None
    escape_limit: float
    claims: tuple[Claim, ...]
    more_defectives_needed: str
    reliability: tuple[Bin, ...]
    defect_types: tuple[DefectType, ...]
    unseen: Unseen | None = None
    type_answers: TypeAnswers | None = None
    located: Located | None = None
    groups: Groups | None
    pointing: Pointing | None
    pixel_auroc: Estimate | None = None
    border: Border | None
    evidence_remark: str | None = None
    worst_escapes: tuple[Mistake, ...]
    worst_overkills: tuple[Mistake, ...]
    caught_elsewhere: tuple[Mistake, ...]
    champion: Champion | None
    decision: GateDecision | None
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]

    @property
    def shown(self) -> tuple[str, ...]:
        """The paths of the images worth seeing: pass their pictures to `page.write_report`."""
        mistakes = self.worst_escapes + self.worst_overkills + self.caught_elsewhere
        return tuple(dict.fromkeys([m.path for m in mistakes] + [t.hardest for t in self.defect_types]))


class EvidenceAndMasks(NamedTuple):
    """Where the model saw defects, and where they are.

    maps: float array of shape (n_images, h, w), higher = more defective.
    masks: by the position of an image, bool array of shape (height, width), True = defective.
    seen: bool array of the shape of a mask, where the model sees the image; None: everywhere.
    """

    maps: np.ndarray
    masks: Mapping[int, np.ndarray]
    seen: np.ndarray | None = None


def report_schema() -> dict[str, Any]:
    """Return the JSON schema of the report's JSON."""
    schema = Report.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def build_report(
    model: ModelInfo,
    metrics: Metrics,
    paths: Sequence[str | Path],
    scores: np.ndarray,
    labels: np.ndarray,
    *,
    defect_types: Sequence[str] | None = None,
    parts: Sequence[str] | None = None,
    evidence: EvidenceAndMasks | None = None,
    operating_point: OperatingPoint | None = None,
    review_band: ReviewBand | None = None,
    defect_rate: float = 0.01,
    costs: Costs | None = None,
    champion: Champion | None = None,
    decision: GateDecision | None = None,
    facts: Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
    worst: int = 6,
    score_is_anomaly: bool = False,
    unseen: Unseen | None = None,
    type_answers: TypeAnswers | None = None,
) -> Report:
    """Collect the content of the report.

    Args:
        metrics: of the scores below, on the test split.
        paths: one per image, as they shall be shown.
        scores: float array of shape (n_images,), P(defective) in [0, 1].
        labels: int array of shape (n_images,), 1 = defective, 0 = OK.
        defect_types: one name per image, the same as `metrics` was made with; without them there is no table of types.
        parts: name of each image's part, "" = its own part.
        evidence: where the model saw defects, and where they are.
        operating_point: where the threshold comes from (the validation split).
        defect_rate: defective parts / all parts on the line.
        costs: of an escaped and of a rejected OK part.
        facts: name and text of further facts about the reliability of the figures.
        notes: further remarks about the data, one sentence each.
        worst: images shown of each kind of mistake.
        score_is_anomaly: the model learned from OK images alone.
        unseen: what is known of defects that the model has not learned.
        type_answers: how it names the types of caught images.
    """
    scores, labels = checked(scores, labels, needed=(0,))
    names = [str(path) for path in paths]
    types = _type_names(defect_types, labels)
    called, confidence = scores >= metrics.threshold, metrics.accuracy.confidence
    parts = parts or [""] * len(labels)
    seen = _localised(evidence, called, types, parts, confidence)
    missed, noun = _missed_parts(scores, labels, metrics.threshold, parts, confidence)

    remark = evidence_remark(seen.pointing, seen.border)

    def listed(chosen: np.ndarray, order: np.ndarray) -> tuple[Mistake, ...]:
        places = sorted(np.flatnonzero(chosen), key=lambda i: order[i])[:worst]
        return tuple(Mistake(path=names[i], score=float(scores[i]), defect_type=types[i]) for i in places)

    return Report(
        score_is_anomaly=score_is_anomaly,
        model=model,
        created=utc_now(),
        metrics=metrics,
        operating_point=operating_point,
        forecast=forecast(metrics, defect_rate),
        cost_curve=cost_curve(
            scores, labels, metrics.threshold, defect_rate, costs, confidence=confidence, parts=parts
        )
        if labels.any()
        else None,
        review=review_workload(scores, labels, review_band, metrics, defect_rate, parts),
        escape_limit=escape_limit(missed.count, missed.total, confidence),
        claims=stronger_claims(missed),
        more_defectives_needed=evidence_text(missed, noun),
        reliability=()
        if score_is_anomaly
        else tuple(reliability(scores, labels, confidence=confidence, parts=parts)),
        defect_types=by_defect_type(
            metrics.per_defect_type if defect_types else {},
            seen.pointing.per_defect_type if seen.pointing else {},
            names,
            scores,
            labels,
            types,
        ),
        unseen=unseen,
        type_answers=type_answers,
        located=evidence
        and locate(evidence.maps, evidence.masks, scores, metrics.threshold, parts, confidence),
        groups=by_part(called, labels, parts, confidence=confidence),
        pointing=seen.pointing,
        pixel_auroc=_pixels(evidence, labels, parts, confidence),
        border=seen.border,
        evidence_remark=remark,
        worst_escapes=listed(~called & (labels == 1), scores),
        worst_overkills=listed(called & (labels == 0), -scores),
        caught_elsewhere=listed(seen.elsewhere & called, -scores),
        champion=champion,
        decision=decision.remarked(remark) if decision and remark else decision,
        facts=tuple(Fact(name=name, text=text) for name, text in facts),
        notes=tuple(notes),
    )


def _type_names(defect_types: Sequence[str] | None, labels: np.ndarray) -> list[str]:
    """Return the type of each defective image, "defective" where none is known, and "" for OK ones."""
    names = defect_types or [""] * len(labels)
    return [name or "defective" if label else "" for name, label in zip(names, labels, strict=True)]


def _missed_parts(
    scores: np.ndarray, labels: np.ndarray, threshold: float, parts: Sequence[str], confidence: float
) -> tuple[Rate, str]:
    """Return the defective parts with a missed image, and their name."""
    found = PartScores.of("escape", scores, labels, parts)
    return Rate.of((found.scores < threshold).sum(), len(found.scores), confidence), found.noun


def _pixels(
    evidence: EvidenceAndMasks | None, labels: np.ndarray, parts: Sequence[str], confidence: float
) -> Estimate | None:
    if evidence is None:
        return None
    part = numbered(parts, len(labels))
    return pixel_auroc(evidence.maps, evidence.masks, labels, part, seen=evidence.seen, confidence=confidence)


class _Localised(NamedTuple):
    """elsewhere: bool (n_images,): images with a mask whose strongest evidence is not on the defect."""

    pointing: Pointing | None
    border: Border | None
    elsewhere: np.ndarray


def _localised(
    evidence: EvidenceAndMasks | None,
    called: np.ndarray,
    types: Sequence[str],
    parts: Sequence[str],
    confidence: float,
) -> _Localised:
    elsewhere = np.zeros(len(called), bool)
    if evidence is None:
        return _Localised(None, None, elsewhere)
    maps = evidence.maps
    cells = {i: defect_cells(mask, maps.shape[1:]) for i, mask in evidence.masks.items()}
    hits = {i: points_at(maps[i], own) for i, own in cells.items()}
    elsewhere[[i for i, hit in hits.items() if not hit]] = True
    aim = pointing(
        list(hits.values()),
        list(cells.values()),
        [bool(called[i]) for i in hits],
        [types[i] for i in hits],
        confidence,
        [parts[i] for i in hits],
    )
    flagged = np.flatnonzero(called).tolist()
    outermost = border(maps[called], [cells.get(i) for i in flagged], confidence, [parts[i] for i in flagged])
    return _Localised(aim, outermost, elsewhere)
