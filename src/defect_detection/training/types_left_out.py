"""Leave one defect type out: fit the head without it, and count how many of its images would pass. Seconds, on cached features.

Each type costs one fit of each branch. The threshold, the calibration and the weights of novelty come from the held-out scores of all
other images, as for the kept model.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from defect_detection.config import Config
from defect_detection.config.training import HyperparameterSet
from defect_detection.data.parts import parts_of
from defect_detection.data.samples import DEFECTIVE, OK, Sample, labels_of
from defect_detection.data.split import ENOUGH_DEFECTIVE
from defect_detection.evaluation.logits import expit
from defect_detection.evaluation.types_left_out import LEAST_PARTS, TypeLeftOut, type_left_out
from defect_detection.model.bundle import are_known
from defect_detection.model.heads import Calibration, Novelty
from defect_detection.training.calibration import calibrate, lean_on_novelty
from defect_detection.training.features import Rows
from defect_detection.training.folds import Folds, LeftOut
from defect_detection.training.local_branch import Cells
from defect_detection.training.local_branch import score_left_out as local_without
from defect_detection.training.novelty_branch import weighed
from defect_detection.training.pooled_branch import score_left_out as pooled_without
from defect_detection.training.threshold import decide, novelty_limit

Once = Callable[[str, Callable[[], tuple[np.ndarray]]], tuple[np.ndarray]]  # branch, its fit: the result

_MOST_TYPES = 8  # those with the most parts
# Fewer images, epochs and variants than the kept fit: that moves the rates less than another seed does (docs/decisions).
_OK_IMAGES = 300
_IMAGES_OF_ONE = 200  # of one type
_EPOCHS = 10  # of the local branch, at most


@dataclass(frozen=True)
class Fitted:
    """The result of the fits with all types.

    pooled, cells: features of all images; of the cells, what gives them. logits: by branch, held out, (n_images,).
    novelty: the branch. logarithms: of its distances, held out, (n_images, 3). ok: indices of the OK images that it was fitted on.
    """

    samples: Sequence[Sample]
    folds: Folds
    pooled: Rows
    cells: Callable[[], Cells]
    logits: Mapping[str, np.ndarray]
    novelty: Novelty
    logarithms: np.ndarray
    ok: np.ndarray


def _anew(_branch: str, fit: Callable[[], tuple[np.ndarray]]) -> tuple[np.ndarray]:
    return fit()


def leave_types_out(
    fitted: Fitted, known: np.ndarray, settings: HyperparameterSet, config: Config, once: Once = _anew
) -> tuple[TypeLeftOut, ...]:
    """Return the escapes of each type that has enough parts, and where enough others are left to learn from.

    Args:
        known: short hashes of what the trunk has learned: a type that it knows can't be left out.
        once: fits a branch, or gives what another set with the same settings of the branch has fitted.
    """
    samples = fitted.samples
    parts, some = np.array(parts_of(samples)), _chosen(samples, config.seed)
    types = _types(fitted, parts, some, are_known([sample.sha256 for sample in samples], known))
    if not types:
        return ()
    folds = _without(samples, parts, types)
    without = _logits_without(fitted, some, folds, settings, config.seed, once)
    return tuple(
        _escapes(name, some[folds.fold[some] == number], without, fitted, parts, config)
        for number, name in enumerate(types)
    )


def _types(fitted: Fitted, parts: np.ndarray, some: np.ndarray, learned: np.ndarray) -> list[str]:
    """Return the types that can be left out, those with the most parts first."""
    samples, own = fitted.samples, defaultdict[str, set[str]](set)
    for sample, part in zip(samples, parts.tolist(), strict=True):
        if sample.label == DEFECTIVE:
            own[sample.defect_type].add(part)
    known = {sample.defect_type for sample, was in zip(samples, learned.tolist(), strict=True) if was}
    labels = labels_of(samples)

    def teaches(images: np.ndarray, without: set[str]) -> bool:
        """Whether enough of both labels is left without some parts."""
        left = images[~np.isin(parts[images], list(without))]
        return bool(np.bincount(labels[left], minlength=2).min() >= ENOUGH_DEFECTIVE)

    fit = [
        name
        for name, of_it in own.items()
        if len(of_it) >= LEAST_PARTS
        and name not in known
        and teaches(some, of_it)
        and teaches(fitted.folds.scored, of_it)  # they set the threshold
    ]
    return sorted(fit, key=lambda name: (-len(own[name]), name))[:_MOST_TYPES]


def _chosen(samples: Sequence[Sample], seed: int) -> np.ndarray:
    """Return the indices of the images to fit on: of many of one kind, some by chance."""
    left: Counter[str] = Counter()
    some = []
    for i in np.random.default_rng(seed).permutation(len(samples)).tolist():
        kind, most = ("", _OK_IMAGES) if samples[i].label == OK else (samples[i].defect_type, _IMAGES_OF_ONE)
        left[kind] += 1
        if left[kind] <= most:
            some.append(i)
    return np.sort(np.array(some, int))


def _without(samples: Sequence[Sample], parts: np.ndarray, types: Sequence[str]) -> LeftOut:
    """Return one fit for each type, without all images of its parts: an OK image or another defect beside would teach the part."""
    own = np.array([sample.defect_type if sample.label == DEFECTIVE else "" for sample in samples])
    fold = np.full(len(samples), -1)
    for number, name in enumerate(types):
        fold[own == name] = number
    out = [np.isin(parts, parts[own == name]) for name in types]
    return LeftOut(fold, refit=False, out=np.stack(out, axis=1))


def _logits_without(
    fitted: Fitted, some: np.ndarray, folds: LeftOut, settings: HyperparameterSet, seed: int, once: Once
) -> dict[str, np.ndarray]:
    """Return by branch each image's logit from the fit without its type, (n_images,); NaN for the others."""
    labels = labels_of([fitted.samples[i] for i in some])
    folds = replace(folds, fold=folds.fold[some], out=folds.out[some])

    def pooled() -> tuple[np.ndarray]:
        return (
            pooled_without(
                [fitted.pooled.of(some)],
                labels,
                folds,
                Folds(fitted.folds.fold[some], refit=False),
                regularization=settings.pooled_regularization,
                components=settings.pooled_components,
            ),
        )

    def local() -> tuple[np.ndarray]:
        epochs = min(settings.epochs, _EPOCHS)
        return (local_without(fitted.cells().rows.of(some), labels, folds, settings, epochs, seed),)

    fits = {"pooled": pooled, "local": local}
    found = {name: once(name, fits[name])[0] for name in fitted.logits}
    spread = {name: np.full(len(fitted.samples), np.nan) for name in found}
    for name, values in found.items():
        spread[name][some] = values
    return spread


def _escapes(
    name: str,
    own: np.ndarray,
    without: Mapping[str, np.ndarray],
    fitted: Fitted,
    parts: np.ndarray,
    config: Config,
) -> TypeLeftOut:
    """Judge the images of a type as a model would that has learned all but them."""
    samples, settings = fitted.samples, config.evaluation
    others = np.array(
        [i for i in fitted.folds.scored if samples[i].defect_type != name or not samples[i].label]
    )
    rest = [samples[i] for i in others]
    labels = labels_of(rest)
    evidence = len(set(parts[others])) / len(others)
    defective = fitted.logarithms[others[labels == DEFECTIVE]]
    novelty = weighed(fitted.novelty, fitted.logarithms[fitted.ok], defective, evidence)(fitted.logarithms)
    held_out = {branch: values[others] for branch, values in fitted.logits.items()}
    unseen = {branch: values[own] for branch, values in without.items()}
    classifier = calibrate(held_out.get("pooled"), held_out.get("local"), labels, parts[others].tolist())

    n_parts = len(set(parts[others[labels == DEFECTIVE]]))
    joined = lean_on_novelty(classifier, held_out, novelty[others], labels, n_parts)

    def passed(calibration: Calibration) -> np.ndarray:
        logits = calibration(held_out | {"novelty": novelty[others]})
        point, band = decide(expit(logits), rest, settings, novelty_share=calibration.novelty_share)
        scores = expit(calibration(unseen | {"novelty": novelty[own]}))
        return np.asarray((scores < point.threshold) & ~band.holds(scores))

    is_usual = novelty[own] <= novelty_limit(novelty[others], rest, settings)
    with_novelty = passed(joined) & is_usual
    return type_left_out(name, passed(classifier), with_novelty, parts[own].tolist(), settings.confidence)
