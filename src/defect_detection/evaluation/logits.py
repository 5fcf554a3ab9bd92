"""Convert scores to logits and back. NumPy only: the server starts without SciPy."""

import numpy as np

_EDGE = (
    1e-7  # scores nearer to 0 or 1 than this count as that far; in single precision they differ from 0 and 1
)
_FARTHEST = 50.0  # logits beyond this count as this far, so that no exponential overflows


def logit(scores: np.ndarray | float) -> np.ndarray:
    """Return ln(p / (1 − p)) of each score, finite also at 0 and 1."""
    p = np.clip(np.asarray(scores, np.float64), _EDGE, 1 - _EDGE)
    return np.asarray(np.log(p) - np.log1p(-p))


def expit(logits: np.ndarray | float) -> np.ndarray:
    """Return the score of each logit: 1 / (1 + exp(−x))."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -_FARTHEST, _FARTHEST))))
