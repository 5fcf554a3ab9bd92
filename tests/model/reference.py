"""What the head's branches compute, in plain NumPy: the graph must give the same."""

import numpy as np
from scipy.special import logsumexp

from defect_detection.model.heads import Local, Pooled


def pooled_logit(pooled: Pooled, features: np.ndarray) -> np.ndarray:
    """Return the branch's logit, float array of shape (n_images,)."""
    return pooled.standardise(features) @ pooled.weights + pooled.bias


def local_logit(local: Local, cells: np.ndarray) -> np.ndarray:
    """Return the branch's logit for cells (n_images, h, w, n_channels), float array of shape (n_images,)."""
    flat = local.standardise(cells).reshape(-1, cells.shape[-1])
    hidden = np.maximum(flat @ local.hidden_weights + local.hidden_bias, 0)
    evidence = (hidden @ local.evidence_weights + local.evidence_bias).reshape(len(cells), -1)
    average = hidden.reshape(len(cells), -1, hidden.shape[-1]).mean(1)
    return logsumexp(evidence, axis=1) - np.log(evidence.shape[1]) + average @ local.mean_weights
