"""Combine the branches and calibrate the score on validation images."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score

from defect_detection.evaluation.logits import expit
from defect_detection.evaluation.novelty_share import novelty_share
from defect_detection.model.heads import Calibration

_FLATTEST = 1e-3  # a score that ranks the wrong way round is flattened, never turned


def calibrate(
    pooled: np.ndarray | None,
    local: np.ndarray | None,
    labels: np.ndarray,
    parts: Sequence[str] | None = None,
) -> Calibration:
    """Weigh the branches and fit slope and offset of a sigmoid.

    Each branch is divided by its spread first. A prior keeps their weights equal: with few validation parts both count nearly the
    same, with many parts the better one counts more. The images of a part count once, because they are correlated.

    Args:
        pooled, local: logits of the validation images, float arrays of shape (n_images,), or None for a branch that isn't there.
        labels: int array of shape (n_images,), 1 = defective; both classes present.
        parts: name of each image's part; None: each image is its own.
    """
    evidence = 1.0 if parts is None else len(set(parts)) / len(parts)
    branches = {name: values for name, values in (("pooled", pooled), ("local", local)) if values is not None}
    spreads = [max(float(values.std()), 1e-6) for values in branches.values()]
    weights, offset = platt(np.stack(list(branches.values()), axis=-1) / spreads, labels, evidence)
    weight = {name: float(w / s) for name, w, s in zip(branches, weights, spreads, strict=True)}
    return Calibration(weight.get("pooled", 0.0), weight.get("local", 0.0), offset)


def lean_on_novelty(
    calibration: Calibration,
    logits: Mapping[str, np.ndarray],
    novelty: np.ndarray,
    labels: np.ndarray,
    n_parts: int,
) -> Calibration:
    """Let novelty decide beside the classifier while there are few defective parts; with many, return the calibration as it is.

    Args:
        calibration: of the branches of the classifier. logits: theirs on the validation images, each (n_images,).
        novelty: of the same images, float (n_images,). labels: as in `calibrate`.
        n_parts: defective parts that training knows, held out or not.
    """
    classifier = calibration(logits)
    of_novelty, of_classifier = (float(roc_auc_score(labels, values)) for values in (novelty, classifier))
    share = novelty_share(of_novelty, of_classifier, n_parts)
    if not share:
        return calibration
    (slope,), offset = platt(novelty[:, np.newaxis], labels)
    joined = (1 - share) * classifier + share * (slope * novelty + offset)
    (scale,), shift = platt(joined[:, np.newaxis], labels)
    kept = float(scale * (1 - share))
    return Calibration(
        pooled=kept * calibration.pooled,
        local=kept * calibration.local,
        bias=float(kept * calibration.bias + scale * share * offset + shift),
        novelty=float(scale * share * slope),
        novelty_share=share,
    )


def platt(logits: np.ndarray, labels: np.ndarray, evidence: float = 1.0) -> tuple[np.ndarray, float]:
    """Return slopes and offset so that sigmoid(logits · slopes + offset) is P(defective).

    Platt scaling with his smoothed targets (Platt 1999, "Probabilistic outputs for support vector machines", eq. 10 and 11), so
    that a perfectly separated validation split doesn't give an infinite slope. With several columns it is stacking with a normal prior
    (variance 1) on the difference of the slopes from their mean.

    Args:
        logits: float array of shape (n_images, n_branches).
        labels: int array of shape (n_images,), 1 = defective.
        evidence: how many parts an image counts as against that prior, at most 1.
    """
    n_defective = int(labels.sum())
    n_ok = len(labels) - n_defective
    targets = np.where(labels == 1, (n_defective + 1) / (n_defective + 2), 1 / (n_ok + 2))
    prior = 1 / evidence

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slopes, offset = parameters[:-1], parameters[-1]
        z = logits @ slopes + offset
        error = expit(z) - targets
        apart = slopes - slopes.mean()
        value = float(np.sum(np.logaddexp(0, z) - targets * z) + prior * apart @ apart / 2)
        return value, np.append(error @ logits + prior * apart, error.sum())

    n_branches = logits.shape[1]
    bounds = [(_FLATTEST, None)] * n_branches + [(None, None)]
    start = np.append(np.full(n_branches, 1 / n_branches), 0.0)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return found.x[:-1], float(found.x[-1])
