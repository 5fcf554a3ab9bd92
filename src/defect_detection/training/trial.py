"""One trial: train one hyperparameter set and measure it on validation."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
from sklearn.metrics import roc_auc_score

from defect_detection.config import Config
from defect_detection.config.training import HyperparameterSet
from defect_detection.data.parts import parts_of
from defect_detection.data.samples import Sample, fingerprint, labels_of
from defect_detection.data.split import LABELS_NEEDED, Splits
from defect_detection.evaluation.logits import expit
from defect_detection.evaluation.metrics import Metrics, evaluate
from defect_detection.evaluation.operating_point import OperatingPoint, ReviewBand
from defect_detection.evaluation.types_left_out import TypeLeftOut
from defect_detection.model.bundle import short_hashes
from defect_detection.model.heads import Head, Local, Pooled
from defect_detection.model.trunks import Trunk, build_trunk
from defect_detection.processes.watch import Follow
from defect_detection.training.calibration import calibrate, lean_on_novelty
from defect_detection.training.epochs import recorder, tell_early_end
from defect_detection.training.fine_tune import fine_tune
from defect_detection.training.folds import Folds
from defect_detection.training.judges import Judges, choose_judges
from defect_detection.training.local_branch import Cells, fit_local, rotated_cells
from defect_detection.training.one_class import HALF, Drawn, fit_novelty, fit_one_class
from defect_detection.training.pooled_branch import fit_pooled
from defect_detection.training.threshold import decide, novelty_limit
from defect_detection.training.tiled_trial import TileFit, run_tiled
from defect_detection.training.trunk_features import trunk_features, turned_features
from defect_detection.training.type_branch import TypeFit, fit_type_branch
from defect_detection.training.types_left_out import Fitted, leave_types_out

# What each branch's fit depends on, beside trunk and folds.
POOLED_SETTINGS = ("turns", "pooled_regularization", "pooled_components")
LOCAL_SETTINGS = (
    "hidden_units",
    "dropout",
    "weight_decay",
    "epochs",
    "patience",
    "batch_size",
    "learning_rate",
    "label_smoothing",
)


@dataclass(frozen=True)
class Trial:
    """A trained hyperparameter set.

    validation: the images that it was judged on: each was held out by the fit that scored it.
    scores: their calibrated P(defective), float array of shape (n_images,).
    fold_auroc: AUROC on each fold; None where a fold lacks a label.
    history: per phase ("fine_tune", "local") and metric, the value after each epoch.
    judges: how `validation` was chosen. novelty_limit: beyond it an image is unlike anything seen in training.
    novelty: of each image of the splits, from a fit that held it out, float array of shape (n_images,).
    tiles: what a model of tiles adds; None where an image is one input.
    drawn: what drawn defects came to, where the head learned from OK images alone; else None.
    types: how the types of defects are named; None where there are fewer than two to learn.
    types_left_out: the escapes of each defect type without which the head was fitted again, where that was asked for.
    """

    settings: HyperparameterSet
    trunk: Trunk
    head: Head
    validation: tuple[Sample, ...]
    scores: np.ndarray
    fold_auroc: tuple[float | None, ...]
    operating_point: OperatingPoint
    review: ReviewBand
    metrics: Metrics
    history: dict[str, list[float]]
    seconds: float
    judges: Judges
    drawn: Drawn | None = None
    novelty_limit: float | None = None
    novelty: np.ndarray | None = None
    types_left_out: tuple[TypeLeftOut, ...] = ()
    tiles: TileFit | None = None
    types: TypeFit | None = None


class Fits(dict[tuple[object, ...], tuple[Any, ...]]):
    """Trunks, branches and rotated cells that were made already, by all that they depend on: sets which share one don't make it again.

    Trunks and cells are large, so only the last requested ones are kept.
    """

    large = ("trunk", "cells")  # kinds that are made more quickly than they are read from a file

    def once(self, key: tuple[object, ...], fit: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
        if key not in self:
            if key[0] in self.large:
                for other in [one for one in self if one[0] == key[0]]:
                    del self[other]
            self[key] = fit()
        return self[key]


def run_trial(
    settings: HyperparameterSet,
    splits: Splits,
    config: Config,
    follow: Follow,
    base: Trunk | None = None,
    fits: Fits | None = None,
    leave_out: bool = False,
) -> Trial:
    """Train one hyperparameter set.

    Args:
        settings: with its schedule filled in (`TrainingConfig.resolved`).
        splits: train and validation are used; test isn't touched.
        follow: is told of progress and of the metrics after each epoch.
        base: start from this trunk instead of building ``settings.trunk``.
        fits: of earlier trials on the same splits; those of this one are added.
        leave_out: also fit without each defect type: see `leave_types_out`.
    """
    started = time.perf_counter()
    fits = Fits() if fits is None else fits
    trunk = base or trunk_of(settings, splits.framing.size, config.seed, fits)
    if splits.framing.tiles:
        key = ("tiles", settings.trunk, settings.weights, settings.levels)
        once = partial(fits.once, key)
        return run_tiled(settings, splits, config, follow, trunk, once, run_trial, _measure, started)
    history: dict[str, list[float]] = {}
    tuned = bool(settings.trainable_from) or trunk.weights is None
    judges = choose_judges(
        Folds(splits.fold, splits.is_cross_validated),
        splits.samples,
        trunk.learned,
        one_trunk=tuned,
        needed=LABELS_NEEDED[splits.mode],
    )
    folds = judges.folds
    if tuned:
        trunk = _tuned(trunk, settings, splits, folds, config, follow, history)
    drawn, types, left_out = None, None, tuple[TypeLeftOut, ...]()
    if splits.mode == "one_class":
        head, novelty, drawn = fit_one_class(trunk, splits, folds, config, follow)
        logits = novelty - HALF
    else:
        head, logits, fitted = fit_head(trunk, settings, splits, folds, config, follow, history, fits)
        novelty = fitted.novelty(fitted.logarithms)
        types = fit_type_branch(trunk, settings, splits, folds, novelty, config, follow, fits.once)
        head = replace(head, types=types and types.head)
        if leave_out:
            once = partial(_once_a_branch, fits, settings, trunk, folds)
            left_out = leave_types_out(fitted, trunk.learned, settings, config, once)
    trial = _measure(settings, trunk, head, logits, splits, judges, config, history, started)
    limit = novelty_limit(novelty, splits.samples, config.evaluation, head.calibration.novelty_share)
    trial = replace(trial, novelty_limit=limit, novelty=novelty, types_left_out=left_out)
    return replace(trial, drawn=drawn, types=types)


def trunk_of(settings: HyperparameterSet, size: tuple[int, int], seed: int, fits: Fits) -> Trunk:
    """Build a set's trunk, unless an earlier set has the same. One that will be tuned is always built: tuning changes it."""
    if settings.trainable_from or settings.weights is None:
        fits = Fits()
    asked = settings.trunk, settings.weights, size, settings.levels, seed
    return cast(tuple[Trunk], fits.once(("trunk", *asked), lambda: (build_trunk(*asked),)))[0]


def _tuned(
    trunk: Trunk,
    settings: HyperparameterSet,
    splits: Splits,
    folds: Folds,
    config: Config,
    follow: Follow,
    history: dict[str, list[float]],
) -> Trunk:
    """Train the trunk itself, without the images that judge it, and note what it has learned."""
    epochs = settings.epochs if trunk.weights is None else settings.fine_tune_epochs
    on_epoch = recorder("fine-tuning", epochs, follow, history)
    keys, labels = _keys(splits.samples), labels_of(splits.samples)
    held_out = replace(folds, refit=False)
    known = np.union1d(trunk.learned, short_hashes(keys[i] for i in held_out.kept))
    pixels, cache, seen = splits.pixels, config.cache_dir, splits.framing.seen
    trunk = fine_tune(trunk, settings, keys, labels, held_out, pixels, cache, config.seed, on_epoch, seen)
    tell_early_end("fine-tuning", epochs, follow, history)
    return replace(trunk, learned=known)


def _once_a_branch(
    fits: Fits,
    settings: HyperparameterSet,
    trunk: Trunk,
    folds: Folds,
    branch: str,
    fit: Callable[[], tuple[np.ndarray]],
) -> tuple[np.ndarray]:
    """Fit a branch without each defect type, unless a set with the same settings of the branch has done so."""
    values = _values(settings, {"pooled": POOLED_SETTINGS, "local": LOCAL_SETTINGS}[branch])
    key = (f"{branch} without types", trunk.fingerprint, folds.fold.tobytes(), folds.refit, *values)
    return cast(tuple[np.ndarray], fits.once(key, fit))


def fit_head(
    trunk: Trunk,
    settings: HyperparameterSet,
    splits: Splits,
    folds: Folds,
    config: Config,
    follow: Follow,
    history: dict[str, list[float]],
    fits: Fits,
) -> tuple[Head, np.ndarray, Fitted]:
    """Train the branches on the trunk's frozen features, and calibrate those that decide.

    Returns:
        the head; each image's logit from the fits that held it out, (n_images,), NaN where none did; and what it comes from.
    """
    keys, labels = _keys(splits.samples), labels_of(splits.samples)
    rows = trunk_features(trunk, keys, ["pooled", "cells"], splits, config, follow)  # novelty needs both
    pooled, local, logits = None, None, {}
    same = (trunk.fingerprint, folds.fold.tobytes(), folds.refit)

    def fit_pooled_branch() -> tuple[Pooled, np.ndarray]:
        return fit_pooled(
            [rows["pooled"], *turned_features(trunk, settings.turns, keys, splits, config, follow)],
            labels,
            folds,
            regularization=settings.pooled_regularization,
            components=settings.pooled_components,
        )

    def rotated() -> Cells:
        def rotate() -> tuple[Cells]:
            seen = splits.framing.seen
            return (rotated_cells(rows["cells"], folds.kept, config.cache_dir, seen),)

        return cast(Cells, fits.once(("cells", *same), rotate)[0])

    def fit_local_branch() -> tuple[Local, np.ndarray, dict[str, list[float]]]:
        curves: dict[str, list[float]] = {}
        on_epoch = recorder("head", settings.epochs, follow, curves)
        fitted = fit_local(rotated(), labels, folds, settings, config.seed, on_epoch)
        tell_early_end("head", settings.epochs, follow, curves)
        return *fitted, curves

    if "pooled" in settings.branches:
        pooled, logits["pooled"] = fits.once(
            ("pooled", *same, *_values(settings, POOLED_SETTINGS)), fit_pooled_branch
        )
    if "local" in settings.branches:
        local, logits["local"], curves = fits.once(
            ("local", *same, *_values(settings, LOCAL_SETTINGS)), fit_local_branch
        )
        history |= curves
    some = folds.scored
    known = {name: values[some] for name, values in logits.items()}
    parts = parts_of(splits.samples[i] for i in some)
    branch, logarithms, ok = fits.once(
        ("novelty", *same),
        lambda: fit_novelty(trunk, rotated(), rows["pooled"], splits, folds, config.seed),
    )
    novelty = branch(logarithms)
    classifier = calibrate(known.get("pooled"), known.get("local"), labels[some], parts)
    calibration = lean_on_novelty(classifier, known, novelty[some], labels[some], splits.n_defective_parts)
    fitted = Fitted(splits.samples, folds, rows["pooled"], rotated, logits, branch, logarithms, ok)
    return Head(pooled, local, calibration, branch), calibration(logits | {"novelty": novelty}), fitted


def _values(settings: HyperparameterSet, names: Sequence[str]) -> list[object]:
    return [getattr(settings, name) for name in names]


def _measure(
    settings: HyperparameterSet,
    trunk: Trunk,
    head: Head,
    logits: np.ndarray,
    splits: Splits,
    judges: Judges,
    config: Config,
    history: dict[str, list[float]],
    started: float,
) -> Trial:
    folds, some = judges.folds, judges.folds.scored
    samples = tuple(splits.samples[i] for i in some)
    labels = labels_of(samples)
    scores = expit(logits[some])
    name = "validation (out-of-fold scores)" if splits.is_cross_validated else "validation"
    point, review = decide(
        scores, samples, config.evaluation, name, judges.learned, head.calibration.novelty_share
    )
    metrics = evaluate(
        scores,
        labels,
        point.threshold,
        parts=parts_of(samples),
        fingerprint=fingerprint(samples),
        confidence=config.evaluation.confidence,
        repetitions=0,
    )
    spread = tuple(_auroc(scores, labels, folds.fold[some] == number) for number in range(folds.count))
    seconds = time.perf_counter() - started
    return Trial(
        settings, trunk, head, samples, scores, spread, point, review, metrics, history, seconds, judges
    )


def _auroc(scores: np.ndarray, labels: np.ndarray, chosen: np.ndarray) -> float | None:
    return float(roc_auc_score(labels[chosen], scores[chosen])) if len(set(labels[chosen])) == 2 else None


def _keys(samples: Sequence[Sample]) -> list[str]:
    return [sample.sha256 for sample in samples]
