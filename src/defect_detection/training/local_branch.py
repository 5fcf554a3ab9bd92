"""Train the local branch on cached cells: the networks of all folds and the final one, together in one model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp
from threadpoolctl import threadpool_limits

from defect_detection.config.training import HyperparameterSet
from defect_detection.data.cache import scratch
from defect_detection.model.backend import keras, ops
from defect_detection.model.heads import Local, Standardise, pool_evidence
from defect_detection.model.seen import seen_places
from defect_detection.training.divergence import require_numbers
from defect_detection.training.features import Rows
from defect_detection.training.fit import Examples, FitSchedule, OnEpoch, fit, fit_to_the_end
from defect_detection.training.folds import Folds
from defect_detection.training.frozen import rows_at_a_time
from defect_detection.training.pooled_branch import strongest

_STATISTICS_IMAGES = 256  # images whose cells give mean and spread
_STATISTICS_CELLS = 50_176  # of theirs, at most: 256 images of 224 px
_COMPONENTS = 128
_IMAGES = 64  # at a time


@dataclass(frozen=True)
class Cells:
    """What the local branch trains on: cells standardised, clipped and rotated onto their strongest components.

    Half precision, shape (n_images, h, w, n_components), or (n_images, n_places, 1, n_components) where not all cells count;
    the rotation, (n_channels, n_components), folds into the first layer, so the graph never sees it.
    grid: rows and columns of all cells. places: which of them count, from the first row on; None: all.
    """

    standardise: Standardise
    rotation: np.ndarray
    rows: Rows
    grid: tuple[int, ...]
    places: list[int] | None = None

    def rotate(self, cells: np.ndarray) -> np.ndarray:
        """Do the same to cells of other images, (n, h, w, n_channels) → (n, h, w, n_components)."""
        return _rotated(self.standardise(_counting(cells, self.places)), self.rotation)


def rotated_cells(
    cells: Rows,
    kept: np.ndarray,
    cache_dir: Path,
    seen: np.ndarray | None = None,
    components: int = _COMPONENTS,
) -> Cells:
    """Fit standardisation and rotation on the cells of some images, and apply them to all, a few images at a time.

    Args:
        kept: indices of the images that the kept fit learns from.
        seen: pixels of the image that count; None: all.
    """
    grid = cells.shape[:-1]
    places = seen_places(seen, grid)
    sample = _sample(cells, kept, places)
    require_numbers(sample, "a feature of the trunk")
    standardise = Standardise.fit(sample.mean(0), sample.var(0))
    sample = standardise(sample)
    products = sample.T @ sample
    # On a busy machine, two threads took a hundred times as long for this.
    with threadpool_limits(1, "blas"):
        _, axes = strongest(products, components)
    rotation = np.ascontiguousarray(axes)
    return Cells(
        standardise, rotation, _rotate(cells, standardise, rotation, places, cache_dir), grid, places
    )


def _counting(cells: np.ndarray, places: list[int] | None) -> np.ndarray:
    """Return the cells that count: (n, h, w, C) → (n, n_places, 1, C), or as they are where all do."""
    if places is None:
        return cells
    return cells.reshape(len(cells), -1, 1, cells.shape[-1])[:, places]


def _sample(cells: Rows, indices: np.ndarray, places: list[int] | None = None) -> np.ndarray:
    """Return the cells of at most 256 images, float32 (n_cells, n_channels); of large images only every so many."""
    chosen = indices[np.linspace(0, len(indices) - 1, min(len(indices), _STATISTICS_IMAGES)).astype(int)]
    n_channels = cells.shape[-1]
    n_cells = int(np.prod(cells.shape[:-1])) if places is None else len(places)
    step = -(-len(chosen) * n_cells // _STATISTICS_CELLS)
    parts = [_counting(cells[index : index + 1], places).reshape(-1, n_channels)[::step] for index in chosen]
    return np.concatenate(parts).astype(np.float32)


def _rotate(
    cells: Rows, standardise: Standardise, rotation: np.ndarray, places: list[int] | None, cache_dir: Path
) -> Rows:
    grid = cells.shape[:-1] if places is None else (len(places), 1)
    rotated = scratch((len(cells), *grid, rotation.shape[1]), np.float16, cache_dir / "scratch")
    n_images = min(rows_at_a_time(cells.shape), _IMAGES)
    for start in range(0, len(cells), n_images):
        some = _counting(cells[start : start + n_images], places)
        rotated[start : start + n_images] = _rotated(standardise(some), rotation)
    return Rows(rotated, np.arange(len(cells)))


def _rotated(scaled: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    # One large product: numpy multiplies a stack of small matrices twenty times slower.
    product = scaled.reshape(-1, scaled.shape[-1]) @ rotation
    return np.asarray(product).reshape(*scaled.shape[:-1], -1)


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
    n_fits, units = folds.learns.shape[1], settings.hidden_units
    model = _side_by_side(cells.rows.shape, n_fits, units, settings.dropout)
    schedule = FitSchedule(settings.epochs, settings.learning_rate, settings.batch_size, settings.patience)
    examples = Examples({"cells": cells.rows}, labels, folds)
    held_out = fit(
        model,
        examples,
        schedule,
        settings,
        seed,
        on_epoch,
        lambda: _held_out(_judges(model, n_fits), cells.rows, folds),
    )
    kept = _judges(model, n_fits)[-1]
    return Local(
        cells.standardise, (cells.rotation @ kept.hidden_weights).astype(np.float32), *kept[1:]
    ), held_out


def score_left_out(
    cells: Rows, labels: np.ndarray, folds: Folds, settings: HyperparameterSet, epochs: int, seed: int
) -> np.ndarray:
    """Train the branch once for each fold, and return its images' logits, (n_images,); NaN for images in none.

    No image of the folds decides when to stop: they may be of one label.

    Args:
        cells: as in `Cells.rows`.
    """
    keras.utils.set_random_seed(seed)
    model = _side_by_side(cells.shape, folds.count, settings.hidden_units, settings.dropout)
    examples = Examples({"cells": cells}, labels, folds)
    fit_to_the_end(
        model, examples, FitSchedule(epochs, settings.learning_rate, settings.batch_size), settings, seed
    )
    return _held_out(_judges(model, folds.count), cells, folds)


class _OnePerFit(keras.layers.Layer):
    """The last layer of networks side by side: hidden units (..., n_fits · units) → (..., n_fits), each from its own units."""

    def __init__(self, n_fits: int, use_bias: bool, name: str) -> None:
        super().__init__(name=name)
        self.n_fits, self.use_bias = n_fits, use_bias

    def build(self, shape: tuple[int, ...]) -> None:
        units = shape[-1] // self.n_fits
        limit = np.sqrt(6 / (units + 1))  # Glorot and Bengio 2010, of one network
        self.kernel = self.add_weight(
            (shape[-1], 1), keras.initializers.RandomUniform(-limit, limit), name="kernel"
        )
        self.bias = self.add_weight((self.n_fits,), "zeros", name="bias") if self.use_bias else None
        self.own = np.kron(np.eye(self.n_fits, dtype=np.float32), np.ones((units, 1), np.float32))

    def call(self, hidden: keras.KerasTensor) -> keras.KerasTensor:
        # One product with zeros for the other fits' units: far faster than one small product for each fit.
        result = ops.matmul(hidden, self.kernel * self.own)
        return result if self.bias is None else result + self.bias


def _side_by_side(shape: tuple[int, ...], n_fits: int, hidden_units: int, dropout: float) -> keras.Model:
    """Judge cells as `heads.judge_cells` does, once for each fit: cells (B, h, w, C) → logits (B, n_fits)."""
    height, width, channels = shape
    inputs = keras.Input(shape, name="cells")
    x = keras.layers.SpatialDropout2D(dropout / 3)(inputs)
    x = keras.layers.Reshape((height * width, channels))(x)
    x = keras.layers.Dense(n_fits * hidden_units, activation="relu", name="local_hidden")(x)
    x = keras.layers.Dropout(dropout, noise_shape=(None, 1, n_fits * hidden_units))(
        x
    )  # (B, cells, fits · units)
    evidence = _OnePerFit(n_fits, use_bias=True, name="local_evidence")(x)
    average = _OnePerFit(n_fits, use_bias=False, name="local_mean")(ops.mean(x, axis=1))
    return keras.Model({"cells": inputs}, pool_evidence(evidence, axis=1) + average)


class _Judge(NamedTuple):
    """One fit's weights: as in `heads.Local`, for rotated cells."""

    hidden_weights: np.ndarray
    hidden_bias: np.ndarray
    evidence_weights: np.ndarray
    evidence_bias: float
    mean_weights: np.ndarray

    def logits(self, cells: np.ndarray) -> np.ndarray:
        """Judge cells (n, h, w, C): (n,)."""
        flat = cells.reshape(-1, cells.shape[-1]).astype(np.float32)
        hidden = np.maximum(flat @ self.hidden_weights + self.hidden_bias, 0)
        evidence = (hidden @ self.evidence_weights + self.evidence_bias).reshape(len(cells), -1)
        average = (hidden @ self.mean_weights).reshape(len(cells), -1).mean(1)
        return np.asarray(logsumexp(evidence, axis=1) - np.log(evidence.shape[1]) + average)


def _judges(model: keras.Model, n_fits: int) -> list[_Judge]:
    """Take the weights of each fit out of the model."""
    hidden_weights, hidden_bias = model.get_layer("local_hidden").get_weights()
    evidence_weights, evidence_bias = model.get_layer("local_evidence").get_weights()
    (mean_weights,) = model.get_layer("local_mean").get_weights()
    columns = (
        np.split(hidden_weights, n_fits, axis=1),
        np.split(hidden_bias, n_fits),
        np.split(evidence_weights[:, 0], n_fits),
        evidence_bias.tolist(),
        np.split(mean_weights[:, 0], n_fits),
    )
    return [_Judge(*weights) for weights in zip(*columns, strict=True)]


def _held_out(judges: Sequence[_Judge], cells: Rows, folds: Folds) -> np.ndarray:
    """Return each image's logit from the fit that holds it out, (n_images,); NaN where none does."""
    logits = np.full(len(cells), np.nan)
    for judge, (_, held) in zip(judges, folds, strict=False):  # the kept fit, last, has no fold
        for start in range(0, len(held), _IMAGES):
            some = held[start : start + _IMAGES]
            logits[some] = judge.logits(cells[some])
    return logits
