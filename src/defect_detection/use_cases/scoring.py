"""Score images with a model at its own image size and threshold, for evaluation and retraining."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from defect_detection.config import Config
from defect_detection.data.bounds import Limits
from defect_detection.data.cache import RowStore
from defect_detection.data.class_names import UNNAMED_TYPE, comparable
from defect_detection.data.parts import parts_of
from defect_detection.data.pixels import decoded
from defect_detection.data.samples import Sample, fingerprint, labels_of
from defect_detection.errors import DataError
from defect_detection.evaluation import metrics as figures_of
from defect_detection.evaluation.metrics import Metrics
from defect_detection.inference.inspect import Inspector
from defect_detection.model.card import Card
from defect_detection.model.type_rule import OTHER, UNKNOWN, TypeRule
from defect_detection.report.type_answers import learned_types
from defect_detection.tracking.reading import ModelRef
from defect_detection.tracking.registry import Registry

_MAP = 56  # rows and columns of the evidence map of a large image in reports, at most


@dataclass(frozen=True)
class Scored:
    """A model on some images: its figures at its own threshold, scores (n_images,) and its inspector.

    evidence: float32 array of shape (n_images, h, w), log-odds per cell: where it sees defects.
    novelty: of each image, (n_images,), in standard deviations of OK images; None of a model that cannot tell.
    types: the strongest type that it names, of each image as if it were defective; None of a model that names none.
    """

    reference: ModelRef
    bundle: Path
    inspector: Inspector
    metrics: Metrics
    scores: np.ndarray
    evidence: np.ndarray
    novelty: np.ndarray | None = None
    types: tuple[str, ...] | None = None


def score(reference: ModelRef, registry: Registry, samples: Sequence[Sample], config: Config) -> Scored:
    """Load a registered version and score images with it, at its own size and threshold."""
    bundle = registry.bundle_of(reference, config.cache_dir)
    inspector = Inspector.load(bundle, name=str(reference), threads=config.inference.threads)
    answers = _answers(inspector, samples, config)
    scores, evidence = (np.concatenate([one[name] for one in answers]) for name in ("score", "evidence"))
    scores = scores.astype(np.float64)
    metrics = measure(scores, samples, inspector.card.threshold, config)
    tells = answers and "novelty" in answers[0]
    novelty = np.concatenate([one["novelty"] for one in answers]) if tells else None
    types = _named(inspector.card.types, answers, novelty)
    # A damaged form can give numbers that are not finite. The golden images tell of it; its maps show nothing.
    shown = np.nan_to_num(evidence, nan=0.0, posinf=0.0, neginf=0.0)
    return Scored(reference, bundle, inspector, metrics, scores, shown, novelty, types)


def _named(
    rule: TypeRule | None, answers: Sequence[Mapping[str, np.ndarray]], novelty: np.ndarray | None
) -> tuple[str, ...] | None:
    if rule is None or not answers:
        return None
    if "named" in answers[0]:
        return tuple(str(name) for one in answers for name in one["named"])
    rows = np.concatenate([one["types"] for one in answers]).tolist()
    own = [None] * len(rows) if novelty is None else novelty.tolist()
    return tuple(rule.named(row, value)[0].name for row, value in zip(rows, own, strict=True))


def _answers(inspector: Inspector, samples: Sequence[Sample], config: Config) -> list[dict[str, np.ndarray]]:
    """Return the model's outputs for images, some images at a time."""
    if inspector.card.tile_rule:
        return [seen_in_tiles(inspector, [sample.path for sample in samples], config)]
    store = readable(samples, inspector.card, config)
    chunks = (store.rows([s.sha256 for s in samples[i : i + 256]]) for i in range(0, len(samples), 256))
    return [inspector.score(images) for images in chunks]


def seen_in_tiles(inspector: Inspector, paths: Sequence[Path], config: Config) -> dict[str, np.ndarray]:
    """Inspect large images; their evidence maps are brought to one small size, of at most the cells of any of them.

    A model that names types also gives "named": the strongest type of each image, as if it were defective.

    Raises:
        DataError: one cannot be read.
    """
    outputs: dict[str, list[Any]] = {"score": [], "evidence": [], "novelty": []}
    named, data = [], config.data
    for found in inspector.inspect(paths, limits=Limits.of(data), pages=data.pages):
        if found.evidence is None:
            raise DataError(found.error or f"{found.path}: cannot be read")
        outputs["score"].append(found.score)
        outputs["evidence"].append(_small(found.evidence, (_MAP, _MAP)))
        outputs["novelty"].append(found.novelty)
        named += [one.name for one in found.types_if_defective[:1]]
    rows, columns = (min((one.shape[axis] for one in outputs["evidence"]), default=0) for axis in (0, 1))
    outputs["evidence"] = [_small(one, (rows, columns)) for one in outputs["evidence"]]
    arrays = {name: np.array(values, np.float32) for name, values in outputs.items()}
    return arrays | ({"named": np.array(named)} if named else {})


def _small(evidence: np.ndarray, most: tuple[int, int]) -> np.ndarray:
    """Return an evidence map of at most so many rows and columns, each cell with the highest value of those that it covers.

    No cell is repeated: where the strongest cell has copies, the first of them lies beside it.
    """
    for axis, wanted in enumerate(most):
        length = evidence.shape[axis]
        count = min(wanted, length)
        starts = np.arange(count) * length // count
        ends = -(-(np.arange(count) + 1) * length // count)  # rounded up
        parts = [np.take(evidence, range(a, b), axis).max(axis) for a, b in zip(starts, ends, strict=True)]
        evidence = np.stack(parts, axis)
    return evidence


def readable(samples: Sequence[Sample], card: Card, config: Config) -> RowStore:
    """Return the decoded images, as the model with this card sees them.

    Raises:
        DataError: it can't read one of them, though the settings could.
    """
    data, bit_depth = config.data, card.bit_depth
    store, unreadable = decoded(
        samples, card.frame, config.cache_dir, Limits.of(data), pages=data.pages, bit_depth=bit_depth
    )
    if unreadable:
        path, reason = next(iter(unreadable.items()))
        raise DataError(
            f"{len(unreadable)} of {len(samples)} images cannot be read as the model reads them (bit depth {bit_depth or 16}; "
            f"data.bit_depth is {data.bit_depth or 16}), such as {path}: {reason}; train again with images and settings of this "
            "camera"
        )
    return store


def measure(scores: np.ndarray, samples: Sequence[Sample], threshold: float, config: Config) -> Metrics:
    """Return the figures of some scores at a threshold."""
    settings = config.evaluation
    return figures_of.evaluate(
        scores,
        labels_of(samples),
        threshold,
        defect_types=[sample.defect_type for sample in samples],
        parts=parts_of(samples),
        fingerprint=fingerprint(samples),
        confidence=settings.confidence,
        repetitions=settings.bootstrap_repetitions,
        seed=config.seed,
    )


def truth_of(sample: Sample, scored: Scored) -> set[str]:
    """Return the types of an image as the model should name them; empty where it cannot, or where the types are unknown."""
    rule = scored.inspector.card.types
    types = [name for name in sample.defect_types if comparable(name) not in (UNNAMED_TYPE, UNKNOWN)]
    return learned_types(types, rule.names, OTHER) if rule else set()
