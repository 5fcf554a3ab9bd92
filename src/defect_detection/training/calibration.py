"""Join the branches and make the score a probability, on validation images."""

import numpy as np
from scipy.optimize import minimize

from defect_detection.model.heads import Calibration

_FLATTEST = 1e-3  # a score that ranks the wrong way round is flattened, never turned


def calibrate(pooled: np.ndarray | None, local: np.ndarray | None, labels: np.ndarray) -> Calibration:
    """Weigh both branches by their spread and fit slope and offset of a sigmoid.

    Platt scaling with his smoothed targets (Platt 1999, "Probabilistic outputs for support vector machines", eq. 10 and 11), so
    that a perfectly separated validation split doesn't give an infinite slope.

    Args:
        pooled, local: logits of the validation images, float arrays of shape (n_images,), or None for a branch that isn't there.
        labels: int array of shape (n_images,), 1 = defective; both classes present.
    """
    spreads = {
        name: max(float(v.std()), 1e-6) for name, v in (("pooled", pooled), ("local", local)) if v is not None
    }
    joined = np.zeros(len(labels))
    for name, values in (("pooled", pooled), ("local", local)):
        if values is not None:
            joined += values / spreads[name] / len(spreads)
    slope, offset = platt(joined, labels)
    weight = {name: slope / spread / len(spreads) for name, spread in spreads.items()}
    return Calibration(weight.get("pooled", 0.0), weight.get("local", 0.0), offset)


def platt(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return slope and offset so that sigmoid(slope · logit + offset) is P(defective)."""
    n_defective = int(labels.sum())
    n_ok = len(labels) - n_defective
    targets = np.where(labels == 1, (n_defective + 1) / (n_defective + 2), 1 / (n_ok + 2))

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        z = parameters[0] * logits + parameters[1]
        error = 1 / (1 + np.exp(-np.clip(z, -500, 500))) - targets
        return float(np.sum(np.logaddexp(0, z) - targets * z)), np.array([error @ logits, error.sum()])

    bounds = [(_FLATTEST, None), (None, None)]
    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds)
    return float(found.x[0]), float(found.x[1])


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean binary cross-entropy of logits, in nats."""
    return float(np.mean(np.logaddexp(0, logits) - labels * logits))
