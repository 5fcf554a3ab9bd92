"""Fit the pooled branch: logistic regression on principal components of the pooled features."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from scipy.linalg import LinAlgWarning, eigh
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from threadpoolctl import threadpool_limits

from defect_detection.evaluation.logits import expit
from defect_detection.model.heads import Pooled, Standardise
from defect_detection.training.divergence import require_numbers
from defect_detection.training.folds import Folds

REGULARIZATIONS = (0.001, 0.01, 0.1, 1.0)  # tried where none is set
_ROWS = 1024  # in memory at a time
_ROWS_OF_AXES = 4096  # images and variants that the axes are found by, at most: they cost the cube of it


class Indexed(Protocol):
    """Rows that are read a few at a time: an array, or `features.Rows`."""

    def __len__(self) -> int: ...
    def __getitem__(self, indices: np.ndarray) -> np.ndarray: ...


def fit_pooled(
    variants: Sequence[Indexed],
    labels: np.ndarray,
    folds: Folds,
    *,
    regularization: float | None,
    components: int | None,
) -> tuple[Pooled, np.ndarray]:
    """Standardise, clip, rotate onto the strongest components, and classify; once for each fold, and once to keep.

    All of it but the clip is linear, so it folds into one weight per feature. Both classes count the same, however rare defects are.
    Standardisation and rotation see no label.

    Args:
        variants: float features of shape (n_images, n_features): of the images as they are, then of each variant of them.
        labels: int array of shape (n_images,), 1 = defective.
        regularization: C of the logistic regression; smaller is smoother. None: the one with the least held-out log loss.
        components: at most so many principal components are kept; None for all.

    Returns:
        the branch, and each image's logit from the fit that held it out, (n_images,); NaN where none did.
    """
    kept = folds.kept
    standardise, centre, rotation, rotated = on_axes(variants, kept, components)
    tried = REGULARIZATIONS if regularization is None else (regularization,)
    with threadpool_limits(
        1, "blas"
    ):  # many small products: on a busy machine, threads wait for each other ten times as long
        held_out = _held_out(rotated, labels, folds, tried)
        chosen = min(tried, key=lambda c: _loss(held_out[c], labels, folds))
        weights, bias = _classify(_classifier(), rotated[:, kept], labels[kept], chosen)
    folded = rotation @ weights
    return Pooled(standardise, folded.astype(np.float32), bias - float(centre @ folded)), held_out[chosen]


def score_left_out(
    variants: Sequence[Indexed],
    labels: np.ndarray,
    folds: Folds,
    judges: Folds,
    *,
    regularization: float | None,
    components: int | None,
) -> np.ndarray:
    """Fit the branch once for each fold, and return its images' logits, (n_images,); NaN for images in none.

    No image of the folds decides on its own score: they may be of one label.

    Args:
        judges: the first of these folds chooses the regularization, where it is None.
    """
    with threadpool_limits(1, "blas"):
        *_, rotated = on_axes(variants, np.arange(len(labels)), components)
        if regularization is None:
            one = judges.only(0)
            found = _held_out(rotated, labels, one, REGULARIZATIONS)
            regularization = min(REGULARIZATIONS, key=lambda c: _loss(found[c], labels, one))
        return _held_out(rotated, labels, folds, [regularization])[regularization]


def on_axes(
    variants: Sequence[Indexed], kept: np.ndarray, components: int | None
) -> tuple[Standardise, np.ndarray, np.ndarray, np.ndarray]:
    """Return what standardises, the centre, the axes, and all variants on them, (n_variants, n_images, k)."""
    standardise = statistics(variants, kept)
    centre, rotation = _principal_axes(variants, kept, standardise, components)
    rotated = [_rotated(variant, standardise, centre, rotation) for variant in variants]
    return standardise, centre, rotation, np.stack(rotated)


def _chunks(indices: np.ndarray) -> list[np.ndarray]:
    return [indices[start : start + _ROWS] for start in range(0, len(indices), _ROWS)]


def statistics(variants: Sequence[Indexed], kept: np.ndarray, n_features: int | None = None) -> Standardise:
    """Return what standardises the first features (None: all) of the kept rows, which are read a few at a time."""
    total, squares = np.zeros(1), np.zeros(1)
    for variant in variants:
        for chunk in _chunks(kept):
            rows = variant[chunk][:, :n_features].astype(np.float64)
            total, squares = total + rows.sum(0), squares + (rows**2).sum(0)
    mean = total / (len(variants) * len(kept))
    require_numbers(squares, "a feature of the trunk")
    return Standardise.fit(mean, np.maximum(squares / (len(variants) * len(kept)) - mean**2, 0))


def _principal_axes(
    variants: Sequence[Indexed], kept: np.ndarray, standardise: Standardise, components: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of the standardised features, (n_features,), and the axes as columns, strongest first.

    Of very many images and variants, those of evenly chosen ones; of all where all components are wanted.
    """
    n_all = len(variants) * len(kept)
    n_rows = n_all if components is None else min(n_all, max(_ROWS_OF_AXES, 4 * components))
    which, places = np.divmod(np.linspace(0, n_all - 1, n_rows).astype(int), len(kept))
    some = [kept[places[which == number]] for number in range(len(variants))]
    scaled = (
        standardise(variant[chunk])
        for variant, rows in zip(variants, some, strict=True)
        for chunk in _chunks(rows)
    )
    if n_rows < len(standardise.mean):  # fewer than features: by the rows' own covariance
        x = np.concatenate(list(scaled))
        centre = x.mean(0)
        x -= centre
        values, vectors = strongest(x @ x.T, components)
        vectors = x.T @ (vectors / np.sqrt(np.maximum(values, 1e-12 * values[0])))
    else:
        total, products = np.zeros(1, np.float32), np.zeros(1, np.float32)
        for x in scaled:
            total, products = total + x.sum(0), products + x.T @ x
        centre = total / n_rows
        values, vectors = strongest(products - np.outer(centre, centre) * n_rows, components)
    return centre, vectors[:, values > 1e-6 * values[0]]


def strongest(matrix: np.ndarray, components: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest eigenvalues of a symmetric matrix in descending order, and their vectors as columns.

    Args:
        components: how many; None: all.
    """
    n = len(matrix)
    values, vectors = eigh(matrix, subset_by_index=[max(n - (components or n), 0), n - 1])
    return values[::-1], vectors[:, ::-1]


def _rotated(
    variant: Indexed, standardise: Standardise, centre: np.ndarray, rotation: np.ndarray
) -> np.ndarray:
    chunks = _chunks(np.arange(len(variant)))
    return np.concatenate([(standardise(variant[chunk]) - centre) @ rotation for chunk in chunks])


def _held_out(
    rotated: np.ndarray, labels: np.ndarray, folds: Folds, tried: Sequence[float]
) -> dict[float, np.ndarray]:
    """Return for each C the logit of each image from the fit that held it out, (n_images,); NaN where none did."""
    logits = {c: np.full(len(labels), np.nan) for c in tried}
    for rows, held in folds:
        model, some = _classifier(), rotated[:, rows]
        for c in tried:
            weights, bias = _classify(model, some, labels[rows], c)
            logits[c][held] = rotated[0, held] @ weights + bias
            require_numbers(logits[c][held], "a score of the pooled branch")
    return logits


@contextmanager
def near_enough() -> Iterator[None]:
    """Accept a fit that stops at its number of iterations, or goes on with lbfgs, as classes that part completely make it do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", LinAlgWarning)
        yield


def _classifier() -> LogisticRegression:
    """Return a balanced logistic regression; one that was fitted before starts from there."""
    return LogisticRegression(
        class_weight="balanced", solver="newton-cholesky", max_iter=30, tol=1e-3, warm_start=True
    )


def _classify(
    model: LogisticRegression, rotated: np.ndarray, labels: np.ndarray, c: float
) -> tuple[np.ndarray, float]:
    """Return weights (k,) and bias."""
    model.set_params(C=c)
    with near_enough():
        model.fit(rotated.reshape(-1, rotated.shape[-1]), np.tile(labels, len(rotated)))
    return model.coef_[0].copy(), float(model.intercept_[0])


def _loss(logits: np.ndarray, labels: np.ndarray, folds: Folds) -> float:
    """Return the log loss of held-out logits, both classes counting the same."""
    some = folds.scored
    scores = expit(logits[some])
    counts = np.bincount(labels[some], minlength=2)
    return float(log_loss(labels[some], scores, sample_weight=1 / counts[labels[some]], labels=[0, 1]))
