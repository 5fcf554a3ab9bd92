"""Fit the local branch on cached cells: one small network for each fold and the one that is kept, side by side in one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from defect_detection.config_sections import HyperparameterSet
from defect_detection.model.heads import Local, Standardise, pool_evidence
from defect_detection.training.features import Rows
from defect_detection.training.fit import Examples, Schedule, fit
from defect_detection.training.folds import Folds

OnEpoch = Callable[[int, Mapping[str, float]], None]
_STATISTICS_IMAGES = 256  # images whose cells give mean and spread
_COMPONENTS = 128


@dataclass(frozen=True)
class Cells:
    """What the local branch trains on: cells standardised, clipped and rotated onto their strongest components.

    Half precision, shape (n_images, h, w, n_components); the rotation, (n_channels, n_components), folds into the first layer,
    so the graph never sees it.
    """

    standardise: Standardise
    rotation: np.ndarray
    rows: Rows


def rotated_cells(cells: Rows, folds: Folds, components: int = _COMPONENTS) -> Cells:
    """Fit standardisation and rotation on cells that the kept fit learns from, and apply them to all, a few images at a time."""
    sample = _sample(cells, folds.kept)
    standardise = Standardise.fit(sample.mean(0), sample.var(0))
    sample = standardise(sample)
    _, axes = np.linalg.eigh(sample.T @ sample)  # eigenvalues ascend
    rotation = np.ascontiguousarray(axes[:, ::-1][:, :components])
    return Cells(standardise, rotation, _rotate(cells, standardise, rotation))


def _sample(cells: Rows, indices: np.ndarray) -> np.ndarray:
    """Return the cells of at most 256 images, float32 (n_cells, n_channels)."""
    chosen = indices[np.linspace(0, len(indices) - 1, min(len(indices), _STATISTICS_IMAGES)).astype(int)]
    return cells[chosen].astype(np.float32).reshape(-1, cells.shape[-1])


def _rotate(cells: Rows, standardise: Standardise, rotation: np.ndarray) -> Rows:
    rotated = np.empty((len(cells), *cells.shape[:-1], rotation.shape[1]), np.float16)
    for start in range(0, len(cells), 64):
        some = standardise(cells[start : start + 64])
        # One large product: numpy multiplies a stack of small matrices twenty times slower.
        product = some.reshape(-1, some.shape[-1]) @ rotation
        rotated[start : start + 64] = product.reshape(*some.shape[:-1], -1)
    return Rows(rotated, np.arange(len(cells)))


def cell_statistics(cells: Rows, indices: np.ndarray) -> Standardise:
    """Return mean and spread of each channel over the cells of at most 256 of the images."""
    sample = _sample(cells, indices)
    return Standardise.fit(sample.mean(0), sample.var(0))


def fit_local(
    cells: Cells, labels: np.ndarray, folds: Folds, settings: HyperparameterSet, seed: int, on_epoch: OnEpoch
) -> tuple[Local, np.ndarray]:
    """Train the local branch on frozen cells.

    Args:
        labels: int array of shape (n_images,), 1 = defective.

    Returns:
        the branch, and each image's logit from the fit that held it out, (n_images,); NaN where none did.
    """
    keras.utils.set_random_seed(seed)
    model = _side_by_side(cells.rows.shape, folds.learns.shape[1], settings.hidden_units, settings.dropout)
    schedule = Schedule(settings.epochs, settings.learning_rate, settings.batch_size)
    examples = Examples({"cells": cells.rows}, labels, folds)
    logits = fit(model, examples, schedule, settings, seed, on_epoch)
    return _last(model, cells, settings.hidden_units), folds.held_out(logits)


def _side_by_side(shape: tuple[int, ...], n_fits: int, hidden_units: int, dropout: float) -> keras.Model:
    """Judge cells as `heads.judge_cells` does, once for each fit: cells (B, h, w, C) → logits (B, n_fits)."""
    inputs = keras.Input(shape, name="cells")
    x = keras.layers.SpatialDropout2D(dropout / 3)(inputs)
    x = keras.layers.Dense(n_fits * hidden_units, activation="relu", name="local_hidden")(x)
    x = keras.layers.Dropout(dropout, noise_shape=(None, 1, 1, n_fits * hidden_units))(x)
    x = keras.layers.Reshape((shape[0] * shape[1], n_fits, hidden_units))(x)  # (B, cells, fits, units)
    evidence = keras.layers.EinsumDense(
        "bnfh,fh->bnf", (shape[0] * shape[1], n_fits), bias_axes="f", name="local_evidence"
    )(x)
    average = keras.layers.EinsumDense("bfh,fh->bf", (n_fits,), name="local_mean")(ops.mean(x, axis=1))
    return keras.Model({"cells": inputs}, pool_evidence(evidence, axis=1) + average)


def _last(model: keras.Model, cells: Cells, hidden_units: int) -> Local:
    """Take the last fit's weights out of the model."""
    hidden_weights, hidden_bias = model.get_layer("local_hidden").get_weights()
    evidence_weights, evidence_bias = model.get_layer("local_evidence").get_weights()
    (mean_weights,) = model.get_layer("local_mean").get_weights()
    return Local(
        cells.standardise,
        (cells.rotation @ hidden_weights[:, -hidden_units:]).astype(np.float32),
        hidden_bias[-hidden_units:],
        evidence_weights[-1],
        float(evidence_bias[-1]),
        mean_weights[-1],
    )
