"""Fit the pooled branch: two linear classifiers on all features of an image, averaged. A few hundred milliseconds."""

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from defect_detection.model.heads import Pooled, Standardise


def fit_pooled(
    features: np.ndarray, labels: np.ndarray, *, regularization: float, components: int | None
) -> Pooled:
    """Standardise, clip, rotate onto the strongest components, average a logistic regression and an LDA.

    All of it but the clip is linear, so it folds into one weight per feature. Both classes count the same, however rare defects are.

    Args:
        features: float array of shape (n_images, n_features), of the training images.
        labels: int array of shape (n_images,), 1 = defective.
        regularization: C of the logistic regression; smaller is smoother.
        components: at most so many principal components are kept; None for all.
    """
    standardise = Standardise.fit(features.mean(0), features.var(0))
    x = standardise(features).astype(np.float64)
    centre = x.mean(0)
    rotation = _principal_axes(x - centre, components)  # (n_features, k)
    rotated = (x - centre) @ rotation
    weights = np.zeros(rotated.shape[1])
    for classifier in (
        LogisticRegression(C=regularization, class_weight="balanced", max_iter=2000),
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=[0.5, 0.5]),
    ):
        direction = classifier.fit(rotated, labels).coef_[0]
        weights += direction / max(float((rotated @ direction).std()), 1e-9) / 2
    means = [float((rotated[labels == label] @ weights).mean()) for label in (0, 1)]
    folded = rotation @ weights
    bias = -sum(means) / 2 - float(centre @ folded)
    return Pooled(standardise, folded.astype(np.float32), bias)


def _principal_axes(centred: np.ndarray, components: int | None) -> np.ndarray:
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    useful = int((singular > 1e-6 * singular[0]).sum())
    return axes[: min(components or useful, useful)].T


def pooled_logit(pooled: Pooled, features: np.ndarray) -> np.ndarray:
    """Return the branch's logit, float array of shape (n_images,)."""
    return pooled.standardise(features) @ pooled.weights + pooled.bias
