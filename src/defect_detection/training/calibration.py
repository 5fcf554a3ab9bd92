"""Join the branches and make the score a probability, on validation images."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize

from defect_detection.model.heads import Calibration, Curve

LEAST_PARTS = 1000  # for a curve; without names of parts each image is one
LEAST_OF_A_LABEL = 200
_FOLDS = 5
_KNOTS = 4  # per label
_CLEAR = 2.0  # standard errors by which a curve must be better where it wasn't fitted
_FLATTEST_PIECE = 0.05  # of a curve: scores that differ stay different in float32
_FLATTEST = 1e-3  # a score that ranks the wrong way round is flattened, never turned


def calibrate(
    pooled: np.ndarray | None,
    local: np.ndarray | None,
    labels: np.ndarray,
    parts: Sequence[str] | None = None,
) -> Calibration:
    """Weigh the branches and fit slope and offset of a sigmoid; with many images, bend it where that is better out of sample.

    Each branch is divided by its spread first. Their weights start equal, and only evidence pulls them apart: on few
    validation parts both count nearly the same, on many the better one counts more. Several images of a part are one observation:
    they agree for reasons of their own.

    Args:
        pooled, local: logits of the validation images, float arrays of shape (n_images,), or None for a branch that isn't there.
        labels: int array of shape (n_images,), 1 = defective; both classes present.
        parts: name of each image's part; None: each image is its own.
    """
    evidence = 1.0 if parts is None else len(set(parts)) / len(parts)
    branches = {name: values for name, values in (("pooled", pooled), ("local", local)) if values is not None}
    spreads = [max(float(values.std()), 1e-6) for values in branches.values()]
    weights, offset = platt(np.stack(list(branches.values()), axis=-1) / spreads, labels, evidence=evidence)
    weight = {name: float(w / s) for name, w, s in zip(branches, weights, spreads, strict=True)}
    made = Calibration(weight.get("pooled", 0.0), weight.get("local", 0.0), offset)
    z = made(branches)
    return replace(made, curve=fit_curve(z, labels)) if needs_curve(z, labels, parts) else made


def needs_curve(z: np.ndarray, labels: np.ndarray, parts: Sequence[str] | None = None) -> bool:
    """Say whether a curve gives clearly less log loss than a sigmoid on images that neither was fitted to.

    Args:
        z: logits, float array of shape (n_images,).
    """
    names, part = np.unique(np.arange(len(z)) if parts is None else parts, return_inverse=True)
    if len(names) < LEAST_PARTS or min(len(set(part[labels == one])) for one in (0, 1)) < LEAST_OF_A_LABEL:
        return False
    fold = (np.random.default_rng(0).permutation(len(names)) % _FOLDS)[part]
    gain = np.empty(len(z))
    for number in range(_FOLDS):
        learned, judged = fold != number, fold == number
        (slope,), offset = platt(z[learned, None], labels[learned])
        curve = fit_curve(z[learned], labels[learned])
        straight = _log_loss(slope * z[judged] + offset, labels[judged])
        gain[judged] = straight - _log_loss(curve(z[judged]), labels[judged])
    by_part = np.bincount(part, gain)
    return bool(by_part.mean() > _CLEAR * by_part.std() / np.sqrt(len(names)))


def fit_curve(z: np.ndarray, labels: np.ndarray) -> Curve:
    """Fit the increasing, piecewise linear function of z whose sigmoid is P(defective): isotonic regression without flat steps.

    The slopes of the pieces are fitted as `platt` fits those of branches: held above 0, so that the ranking stays, and near each
    other unless the images speak against it. The knots lie at the quintiles of each label's logits.
    """
    shares = np.linspace(0, 1, _KNOTS + 2)[1:-1]
    knots = np.unique([np.quantile(z[labels == label], shares) for label in (0, 1)]).astype(np.float32)
    inner = np.clip(z[:, None] - knots, 0, np.append(np.diff(knots), np.inf))
    pieces = np.column_stack([np.minimum(z, knots[0]), inner])
    slopes, offset = platt(pieces, labels, _FLATTEST_PIECE)
    return Curve(offset, float(slopes[0]), knots, np.diff(slopes).astype(np.float32))


def _log_loss(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, logits) - labels * logits


def platt(
    logits: np.ndarray, labels: np.ndarray, flattest: float = _FLATTEST, evidence: float = 1.0
) -> tuple[np.ndarray, float]:
    """Return slopes and offset so that sigmoid(logits · slopes + offset) is P(defective).

    Platt scaling with his smoothed targets (Platt 1999, "Probabilistic outputs for support vector machines", eq. 10 and 11), so
    that a perfectly separated validation split doesn't give an infinite slope. With several columns it is stacking with a normal prior
    (variance 1) on the difference of the slopes from their mean.

    Args:
        logits: float array of shape (n_images, n_branches).
        labels: int array of shape (n_images,), 1 = defective.
        flattest: the least slope.
        evidence: how many independent observations an image counts as against that prior, at most 1.
    """
    n_defective = int(labels.sum())
    n_ok = len(labels) - n_defective
    targets = np.where(labels == 1, (n_defective + 1) / (n_defective + 2), 1 / (n_ok + 2))
    prior = 1 / evidence

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slopes, offset = parameters[:-1], parameters[-1]
        z = logits @ slopes + offset
        error = 1 / (1 + np.exp(-np.clip(z, -500, 500))) - targets
        apart = slopes - slopes.mean()
        value = float(np.sum(np.logaddexp(0, z) - targets * z) + prior * apart @ apart / 2)
        return value, np.append(error @ logits + prior * apart, error.sum())

    n_branches = logits.shape[1]
    bounds = [(flattest, None)] * n_branches + [(None, None)]
    start = np.append(np.full(n_branches, 1 / n_branches), 0.0)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return found.x[:-1], float(found.x[-1])
