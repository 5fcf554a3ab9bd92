"""One trial: train one hyperparameter set and measure it on validation."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from defect_detection.config import Config, HyperparameterSet
from defect_detection.data.samples import Sample
from defect_detection.data.split import Splits
from defect_detection.evaluation.metrics import Metrics, evaluate
from defect_detection.evaluation.operating_point import (
    OperatingPoint,
    ReviewBand,
    choose_review_band,
    choose_threshold,
)
from defect_detection.model.heads import Head
from defect_detection.model.inspector import build_features
from defect_detection.model.trunks import Trunk, build_trunk
from defect_detection.training.calibration import calibrate
from defect_detection.training.features import Rows, activations
from defect_detection.training.fine_tune import fine_tune
from defect_detection.training.local import OnEpoch, fit_local, local_logit, rotated_cells
from defect_detection.training.pooled import fit_pooled, pooled_logit


@dataclass(frozen=True)
class Trial:
    """A trained hyperparameter set.

    scores: calibrated P(defective) of the validation images, float array of shape (n_images,).
    history: per phase ("fine_tune", "local") and metric, the value after each epoch.
    """

    settings: HyperparameterSet
    trunk: Trunk
    head: Head
    scores: np.ndarray
    operating_point: OperatingPoint
    review: ReviewBand
    metrics: Metrics
    history: dict[str, list[float]]
    seconds: float


class Follow(Protocol):
    """What a trial tells while it runs: the phase, and how much of it is done."""

    def __call__(
        self, phase: str, done: int, total: int, metrics: Mapping[str, float] | None = None
    ) -> None: ...


def run_trial(
    settings: HyperparameterSet, splits: Splits, config: Config, follow: Follow, base: Trunk | None = None
) -> Trial:
    """Train one hyperparameter set.

    Args:
        settings: with its schedule filled in (`TrainingConfig.resolved`).
        splits: train and validation are used; test isn't touched.
        follow: is told of progress and of the metrics after each epoch.
        base: start from this trunk instead of building ``settings.trunk``.
    """
    started = time.perf_counter()
    history: dict[str, list[float]] = {}
    size, cache = config.data.image_size, config.cache_dir
    trunk = base or build_trunk(settings.trunk, settings.weights, size, settings.levels, config.seed)
    if settings.trainable_from or trunk.weights is None:
        epochs = settings.epochs if trunk.weights is None else settings.fine_tune_epochs
        on_epoch = _recorder("fine-tuning", epochs, follow, history)
        sides = (
            (_keys(splits.train), _keys(splits.validation)),
            (_labels(splits.train), _labels(splits.validation)),
        )
        trunk = fine_tune(trunk, settings, *sides, splits.pixels, cache, config.seed, on_epoch)
    head, logits = fit_head(trunk, settings, splits, config, follow, history)
    return _measure(settings, trunk, head, logits, splits, config, history, time.perf_counter() - started)


def fit_head(
    trunk: Trunk,
    settings: HyperparameterSet,
    splits: Splits,
    config: Config,
    follow: Follow,
    history: dict[str, list[float]],
) -> tuple[Head, np.ndarray]:
    """Train both branches on the trunk's frozen features and calibrate them. Return the head and validation logits."""
    train, validation = _features(trunk, splits, config, follow)
    labels = _labels(splits.train), _labels(splits.validation)
    pooled, local, logits = None, None, {}
    if "pooled" in settings.branches:
        features = _turned_features(trunk, settings.turns, splits, config, follow)
        pooled = fit_pooled(
            features,
            np.tile(labels[0], settings.turns),
            regularization=settings.pooled_regularization,
            components=settings.pooled_components,
        )
        logits["pooled"] = pooled_logit(pooled, np.asarray(validation["pooled"][:]))
    if "local" in settings.branches:
        cells = rotated_cells(train["cells"], validation["cells"])
        on_epoch = _recorder("head", settings.epochs, follow, history)
        local = fit_local(cells, labels, settings, config.seed, on_epoch)
        logits["local"] = local_logit(local, validation["cells"])
    calibration = calibrate(logits.get("pooled"), logits.get("local"), labels[1])
    joined = sum(getattr(calibration, name) * values for name, values in logits.items()) + calibration.bias
    return Head(pooled, local, calibration), np.asarray(joined)


def _features(
    trunk: Trunk, splits: Splits, config: Config, follow: Follow
) -> tuple[dict[str, Rows], dict[str, Rows]]:
    keys = [*_keys(splits.train), *_keys(splits.validation)]
    rows = activations(
        build_features(trunk),
        keys,
        splits.pixels,
        config.cache_dir,
        lambda done, total: follow("features", done, total),
    )
    cut = len(splits.train)
    train = {name: replace(values, positions=values.positions[:cut]) for name, values in rows.items()}
    validation = {name: replace(values, positions=values.positions[cut:]) for name, values in rows.items()}
    return train, validation


def _turned_features(trunk: Trunk, turns: int, splits: Splits, config: Config, follow: Follow) -> np.ndarray:
    """Return the pooled features of the training images in the first `turns` of their flips and turns, one after another."""
    model, keys = build_features(trunk), _keys(splits.train)
    total = turns * len(keys)
    columns = []
    for turn in range(turns):

        def on_progress(done: int, _: int, before: int = turn * len(keys)) -> None:
            follow("turns", before + done, total)

        rows = activations(
            model, keys, splits.pixels, config.cache_dir, on_progress, only="pooled", turn=turn
        )
        columns.append(np.asarray(rows["pooled"][:]))
    return np.concatenate(columns)


def _measure(
    settings: HyperparameterSet,
    trunk: Trunk,
    head: Head,
    logits: np.ndarray,
    splits: Splits,
    config: Config,
    history: dict[str, list[float]],
    seconds: float,
) -> Trial:
    labels = _labels(splits.validation)
    scores = 1 / (1 + np.exp(-np.clip(logits, -50, 50)))
    rule = config.evaluation.operating_point
    point = choose_threshold(
        scores,
        labels,
        rule.rule,
        max_escape_rate=rule.max_escape_rate,
        threshold=rule.threshold,
        confidence=config.evaluation.confidence,
    )
    review = choose_review_band(scores, point.threshold, config.evaluation.review_fraction)
    metrics = evaluate(
        scores,
        labels,
        point.threshold,
        fingerprint=splits.validation_fingerprint,
        confidence=config.evaluation.confidence,
        repetitions=0,
    )
    return Trial(settings, trunk, head, scores, point, review, metrics, history, seconds)


def _recorder(phase: str, epochs: int, follow: Follow, history: dict[str, list[float]]) -> OnEpoch:
    prefix = "" if phase == "head" else "fine_tune_"

    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
        named = {f"{prefix}{name}": value for name, value in metrics.items()}
        for name, value in named.items():
            history.setdefault(name, []).append(value)
        follow(phase, epoch + 1, epochs, named)

    return on_epoch


def _keys(samples: Sequence[Sample]) -> list[str]:
    return [sample.sha256 for sample in samples]


def _labels(samples: Sequence[Sample]) -> np.ndarray:
    return np.array([sample.label for sample in samples], np.int64)
