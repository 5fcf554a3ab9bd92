"""Fit the branch that names the type of a defect: logistic regression on the pooled features of defective images. Seconds."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from defect_detection.config import Config
from defect_detection.config.evaluation import EvaluationConfig
from defect_detection.config.training import HyperparameterSet
from defect_detection.data.class_names import UNNAMED_TYPE, comparable
from defect_detection.data.parts import parts_of
from defect_detection.data.samples import Sample
from defect_detection.data.split import Splits
from defect_detection.model.heads import Types
from defect_detection.model.trunks import Trunk
from defect_detection.model.type_rule import OTHER, UNKNOWN, TypeRule
from defect_detection.processes.watch import Follow
from defect_detection.training.calibration import platt
from defect_detection.training.folds import Folds
from defect_detection.training.held_out_types import HeldOut, rule_of
from defect_detection.training.pooled_branch import (
    REGULARIZATIONS,
    Indexed,
    near_enough,
    on_axes,
)
from defect_detection.training.trunk_features import trunk_features, turned_features

Once = Callable[[tuple[object, ...], Callable[[], tuple[Any, ...]]], tuple[Any, ...]]
"""Returns what was fitted under a key before, or fits it now."""

LEAST_PARTS = 10  # of a type that is learned by itself
LEAST_OTHER_PARTS = 5  # of all smaller types together, to be learned as `OTHER`
_NEVER = -30.0  # logit of a type that a fit has not seen
_MOST_COMPONENTS = 384
_NO_TYPES = {comparable(name) for name in (UNNAMED_TYPE, UNKNOWN)}  # names that tell no type


@dataclass(frozen=True)
class LabelledTypes:
    """The defective images whose type is known. indices: of all samples. names: K types. has: bool (n, K)."""

    indices: np.ndarray
    names: tuple[str, ...]
    has: np.ndarray

    @property
    def several(self) -> bool:
        return bool((self.has.sum(1) > 1).any())


def labelled_types(samples: Sequence[Sample], kept: np.ndarray) -> LabelledTypes | None:
    """Return the images to learn types from; None with fewer than two types of `LEAST_PARTS` parts each.

    Smaller types are learned together as `OTHER`, or are left out where they have fewer than `LEAST_OTHER_PARTS` parts.

    Args:
        kept: indices of the images that the final fit learns from; their parts count.
    """
    parts, learned = parts_of(samples), set(kept.tolist())
    of_type: dict[str, set[str]] = defaultdict(set)
    for i in sorted(learned):
        for name in _types_of(samples[i]):
            of_type[name].add(parts[i])
    own = sorted(name for name, some in of_type.items() if len(some) >= LEAST_PARTS)
    if len(own) < 2:
        return None
    rest = {name for name in of_type if name not in own}
    together = len(set().union(*(of_type[name] for name in rest)))
    names = own + [OTHER] * (together >= LEAST_OTHER_PARTS and OTHER not in own)
    place = {
        name: names.index(name if name in own else OTHER) for name in of_type if name in own or OTHER in names
    }
    has = np.zeros((len(samples), len(names)), bool)
    for i, sample in enumerate(samples):
        for name in _types_of(sample) & place.keys():
            has[i, place[name]] = True
    indices = np.flatnonzero(has.any(1))
    return LabelledTypes(indices, tuple(names), has[indices])


def _types_of(sample: Sample) -> set[str]:
    return {name for name in sample.defect_types if comparable(name) not in _NO_TYPES}


class TypeFit(NamedTuple):
    """The branch that names types, the rule that goes with it, and the answers that the rule comes from."""

    head: Types
    rule: TypeRule
    held_out: HeldOut


def fit_type_branch(
    trunk: Trunk,
    settings: HyperparameterSet,
    splits: Splits,
    folds: Folds,
    novelty: np.ndarray,
    config: Config,
    follow: Follow,
    once: Once,
) -> TypeFit | None:
    """Fit the branch that names types of defects on the features that the pooled branch has; None without two types."""
    labelled = labelled_types(splits.samples, folds.kept)
    if labelled is None:
        return None
    keys = [sample.sha256 for sample in splits.samples]

    def fit() -> tuple[TypeFit | None]:
        rows = trunk_features(trunk, keys, ["pooled"], splits, config, follow)["pooled"]
        variants = [rows, *turned_features(trunk, settings.turns, keys, splits, config, follow)]
        return (fit_types(variants, labelled, splits.samples, folds, novelty, config.evaluation),)

    same = (trunk.fingerprint, folds.fold.tobytes(), folds.refit, settings.turns)
    return cast(TypeFit | None, once(("types", *same), fit)[0])


def fit_types(
    variants: Sequence[Indexed],
    labelled: LabelledTypes,
    samples: Sequence[Sample],
    folds: Folds,
    novelty: np.ndarray,
    evaluation: EvaluationConfig,
) -> TypeFit | None:
    """Fit once for each fold, calibrate on what each fit held out, and fit once to keep; None where nothing was held out.

    Args:
        variants: pooled features of all images as they are, then of each variant of them, (n_images, n_features).
        novelty: of all images, (n_images,), each from a fit that held it out; NaN where none did.
    """
    some, has = labelled.indices, labelled.has
    kept, fold = np.isin(some, folds.kept), folds.fold[some]
    if not (fold >= 0).any():
        return None
    own = [_SomeRows(one, some) for one in variants]
    with threadpool_limits(1, "blas"):
        standardise, centre, rotation, rows = on_axes(own, np.flatnonzero(kept), _MOST_COMPONENTS)
        held = {c: _held_out(rows, has, fold, c) for c in REGULARIZATIONS}
        scored = fold >= 0
        c = min(held, key=lambda one: _loss(held[one][scored], has[scored], labelled.several))
        weights, bias = _classify(rows[:, kept], has[kept], c, labelled.several)
    slopes, offsets = _calibrated(held[c][scored], has[scored], labelled.several)
    folded = rotation @ weights * slopes
    bias = (bias - centre @ rotation @ weights) * slopes + offsets
    head = Types(standardise, folded.astype(np.float32), bias.astype(np.float32), labelled.several)
    probabilities = probabilities_of(held[c][scored] * slopes + offsets, labelled.several)
    judged, names, several = some[scored], labelled.names, labelled.several
    answers = HeldOut(names, several, judged, has[scored], probabilities, novelty[judged])
    return TypeFit(head, rule_of(answers, samples, evaluation), answers)


@dataclass(frozen=True)
class _SomeRows:
    """Some rows of features, in an order of their own."""

    rows: Indexed
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, places: np.ndarray) -> np.ndarray:
        return self.rows[self.indices[places]]


def probabilities_of(logits: np.ndarray, several: bool) -> np.ndarray:
    """Return P(type) of each type, (n, K): of one of them, or of each by itself."""
    return np.asarray(expit(logits) if several else softmax(logits, axis=1))


def _held_out(rows: np.ndarray, has: np.ndarray, fold: np.ndarray, c: float) -> np.ndarray:
    """Return the logits of each image from the fit that held it out, (n, K); NaN where none did."""
    logits = np.full(has.shape, np.nan)
    several = bool((has.sum(1) > 1).any())
    for number in range(int(fold.max()) + 1):
        held, others = fold == number, fold != number
        if held.any() and others.any():
            weights, bias = _classify(rows[:, others], has[others], c, several)
            logits[held] = rows[0, held] @ weights + bias
    return logits


def _classify(rows: np.ndarray, has: np.ndarray, c: float, several: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (k, K) and bias (K,) of a fit on all variants, (n_variants, n, k)."""
    x, has = rows.reshape(-1, rows.shape[-1]), np.tile(has, (len(rows), 1))
    weights, bias = np.zeros((x.shape[1], has.shape[1])), np.full(has.shape[1], _NEVER)
    if several:
        for k in np.flatnonzero(has.any(0)):
            if has[:, k].all():
                bias[k] = -_NEVER
            else:
                weights[:, k], bias[k] = _binary(x, has[:, k], c)
        return weights, bias
    seen = np.flatnonzero(has.any(0))
    if len(seen) == 1:
        bias[seen] = 0.0
    elif len(seen) == 2:
        weights[:, seen[1]], bias[seen[1]] = _binary(x, has[:, seen[1]], c)
        bias[seen[0]] = 0.0
    else:
        model = _fitted(x, has.argmax(1), c)
        weights[:, seen], bias[seen] = model.coef_.T, model.intercept_
    return weights, bias


def _binary(x: np.ndarray, has: np.ndarray, c: float) -> tuple[np.ndarray, float]:
    model = _fitted(x, has, c)
    return model.coef_[0], float(model.intercept_[0])


def _fitted(x: np.ndarray, y: np.ndarray, c: float) -> LogisticRegression:
    # With several types newton-cholesky solves for all weights of all types at once: 25 times slower here.
    model = LogisticRegression(C=c, solver="lbfgs", max_iter=500, tol=1e-5)
    with near_enough():
        return model.fit(x, y)


def _loss(logits: np.ndarray, has: np.ndarray, several: bool) -> float:
    if several:
        return float(np.mean(np.logaddexp(0, logits) - has * logits))
    return float(-np.mean(log_softmax(logits, axis=1)[has]))


def _calibrated(logits: np.ndarray, has: np.ndarray, several: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return slopes and offsets (K,) that make probabilities of held-out logits.

    One type an image: one temperature for all (Guo et al., "On calibration of modern neural networks", ICML 2017), with a normal
    prior on its logarithm, so that a few images that are all right do not make it sure. Several: a sigmoid for each (`platt`).
    """
    if several:
        fits = [platt(logits[:, [k]], has[:, k].astype(int)) for k in range(has.shape[1])]
        return np.array([slope[0] for slope, _ in fits]), np.array([offset for _, offset in fits])

    def loss(log_slope: float) -> float:
        return len(has) * _loss(logits * np.exp(log_slope), has, several=False) + log_slope**2 / 2

    slope = float(np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x))
    return np.full(has.shape[1], slope), np.zeros(has.shape[1])
