"""The classifier head, trained on the maps of a trunk: plain arrays, and the Keras graph built from them.

    maps ─┬─ mean, std, max, covariances ─ standardise, clip ─ linear ────────────────────▶ pooled logit ─┐
          └─ cells: all levels on one grid ─ standardise, clip ─ Dense ReLU ─┬─ linear ──▶ evidence        ├─ calibration ─▶ score
                                                                             └─ log-mean-exp + mean ▶ local logit ─┘

A third branch, novelty, says how unlike the OK training images the image is (`model.novelty`).

The pooled branch sees the whole image at once; the local branch judges each cell, so a small defect isn't averaged away,
and what it says per cell is the evidence map.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from defect_detection.data.framing import CELL
from defect_detection.model.backend import keras, ops
from defect_detection.model.seen import counting, on_grid

CLIP = 6.0  # standard deviations; features of a part unlike all training parts can't drown the rest
CELL_STRIDE = CELL
DISTANCES = ("bank", "place", "pooled")  # of the novelty branch
COVARIANCE_CHANNELS = 96  # a level with more has too many pairs of channels


@dataclass(frozen=True)
class Standardise:
    """Per-channel mean and standard deviation on the training images, each float32 of shape (n_features,)."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def fit(cls, mean: np.ndarray, variance: np.ndarray) -> "Standardise":
        """A channel that hardly varies gets a wide scale instead of a huge gain."""
        std = np.sqrt(variance)
        floor = 1e-3 * max(float(np.median(std)), 1e-6)
        return cls(mean.astype(np.float32), np.maximum(std, floor).astype(np.float32))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        scaled = values.astype(np.float32)
        scaled -= self.mean
        scaled /= self.std
        return np.clip(scaled, -CLIP, CLIP, out=scaled)


@dataclass(frozen=True)
class Pooled:
    """Linear classifier on pooled features: weights float32 (n_features,), bias."""

    standardise: Standardise
    weights: np.ndarray
    bias: float


@dataclass(frozen=True)
class Local:
    """Judge of single cells.

    hidden_weights (n_channels, n_hidden), hidden_bias (n_hidden,); evidence_weights (n_hidden,), evidence_bias;
    mean_weights (n_hidden,): what the average cell adds.
    """

    standardise: Standardise
    hidden_weights: np.ndarray
    hidden_bias: np.ndarray
    evidence_weights: np.ndarray
    evidence_bias: float
    mean_weights: np.ndarray


@dataclass(frozen=True)
class Scale:
    """How one distance is scaled.

    weight: how much it counts; the average is 1. mean, spread: of its logarithm over held-out OK images.
    """

    weight: float
    mean: float
    spread: float


@dataclass(frozen=True)
class Novelty:
    """What is usual for OK parts; all arrays are float32.

    axes: (n_channels, k), of standardised cells. bank: (n_bank, k), OK cells on these axes.
    place_axes, place_offset: (n_places, k, k) and (n_places, k): a cell at its place, times the axes, plus the offset, is standardised
    and uncorrelated over OK images. pooled_axes: (n_features, m), of the standardised `statistics` of the maps.
    scales: by the name of the distance, see `DISTANCES`. mean, spread: of all of them together, over held-out OK images.
    """

    standardise: Standardise
    axes: np.ndarray
    bank: np.ndarray
    place_axes: np.ndarray
    place_offset: np.ndarray
    pooled_standardise: Standardise
    pooled_axes: np.ndarray
    scales: Mapping[str, Scale]
    mean: float = 0.0
    spread: float = 1.0

    def __call__(self, logarithms: np.ndarray) -> np.ndarray:
        """Return the novelty of images from the logarithms of their distances, (n_images, 3) → (n_images,).

        It is the logarithm of a sum of exponentials. Each exponent is a standardised distance times its weight. So one distance that
        is far out suffices.
        """
        scales = [self.scales[name] for name in DISTANCES]
        scaled = [
            (column - scale.mean) * (scale.weight / scale.spread)
            for column, scale in zip(np.moveaxis(logarithms, -1, 0), scales, strict=True)
        ]
        return np.asarray((np.logaddexp.reduce(scaled) - self.mean) / self.spread)


@dataclass(frozen=True)
class Types:
    """Linear classifier of the type of a defect on pooled features, calibrated.

    weights: float32 (n_features, n_types); bias: (n_types,). several: an image may have several types, so each has a probability of
    its own (sigmoid); otherwise the types share one (softmax).
    """

    standardise: Standardise
    weights: np.ndarray
    bias: np.ndarray
    several: bool


@dataclass(frozen=True)
class Calibration:
    """score = sigmoid(pooled · pooled logit + local · local logit + novelty · novelty + bias).

    novelty_share: how much novelty counts against the other branches, from 0 to 1.
    """

    pooled: float = 1.0
    local: float = 1.0
    bias: float = 0.0
    novelty: float = 0.0
    novelty_share: float = 0.0

    def __call__(self, logits: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the calibrated logits, (n_images,), from those of each branch that is there."""
        return np.asarray(sum(getattr(self, name) * values for name, values in logits.items()) + self.bias)


@dataclass(frozen=True)
class Head:
    """A trained head; a branch that isn't used is None (at least one is)."""

    pooled: Pooled | None
    local: Local | None
    calibration: Calibration = field(default_factory=Calibration)
    novelty: Novelty | None = None
    types: Types | None = None


def pooled_features(maps: list[keras.KerasTensor], seen: np.ndarray | None = None) -> keras.KerasTensor:
    """Return the statistics of each map, then the covariances of those with at most 96 channels: [(B, h, w, C), …] → (B, F).

    Textures are described by detectors that respond together, not only by their strength (second-order pooling: Lin et al.
    2015, "Bilinear CNN models", eq. 1, here about the mean). Of wide levels that would be too many features.

    Args:
        seen: bool array over the image, True where a pixel counts; None: all do.
    """
    maps = [counting(level, seen) for level in maps]
    narrow = [level for level in maps if level.shape[-1] <= COVARIANCE_CHANNELS]
    return ops.concatenate([statistics(maps), *map(_covariances, narrow)], axis=-1)


def statistics(maps: list[keras.KerasTensor]) -> keras.KerasTensor:
    """Return mean, standard deviation and maximum of each map: [(B, h, w, C), …] → (B, 3 · ΣC)."""
    columns = []
    for level in maps:
        variance = ops.var(level, axis=(1, 2))
        columns += [ops.mean(level, axis=(1, 2)), ops.sqrt(variance + 1e-5), ops.max(level, axis=(1, 2))]
    return ops.concatenate(columns, axis=-1)


def _covariances(level: keras.KerasTensor) -> keras.KerasTensor:
    """Return how each two channels vary together over the image: (B, h, w, C) → (B, C · (C − 1) / 2)."""
    _, height, width, channels = level.shape
    centred = level - ops.mean(level, axis=(1, 2), keepdims=True)
    # Channels first: a tenth of a millisecond faster in OpenVINO.
    values = ops.reshape(ops.transpose(centred, (0, 3, 1, 2)), (-1, channels, height * width))
    products = ops.matmul(values, ops.transpose(values, (0, 2, 1))) / (height * width)
    pairs = np.ravel_multi_index(np.triu_indices(channels, 1), (channels, channels))
    return ops.take(ops.reshape(products, (-1, channels * channels)), pairs.tolist(), axis=1)


def cell_features(maps: list[keras.KerasTensor], size: tuple[int, int]) -> keras.KerasTensor:
    """Bring the levels onto one grid of 16-px cells: finer ones by mean and maximum, coarser ones by repetition.

    Args:
        size: height and width of the image.

    Returns:
        (B, height / 16, width / 16, C).
    """
    grid, columns_of_grid = size[0] // CELL_STRIDE, size[1] // CELL_STRIDE
    columns = []
    for level in _joined_by_height(maps):
        height = level.shape[1]
        if height >= 2 * grid:
            window = height // grid
            columns += [
                keras.layers.AveragePooling2D(window, name=f"cells_mean_{height}")(level),
                keras.layers.MaxPooling2D(window, name=f"cells_max_{height}")(level),
            ]
        elif height == grid:
            columns.append(level)
        else:
            repeated = ops.repeat(ops.repeat(level, -(-grid // height), axis=1), -(-grid // height), axis=2)
            columns.append(repeated[:, :grid, :columns_of_grid])
    return ops.concatenate([column[:, :grid, :columns_of_grid] for column in columns], axis=-1)


def _joined_by_height(maps: list[keras.KerasTensor]) -> list[keras.KerasTensor]:
    """Join neighbouring levels of one resolution along their channels."""
    groups = [list(group) for _, group in groupby(maps, key=lambda level: level.shape[1])]
    return [ops.concatenate(group, axis=-1) if len(group) > 1 else group[0] for group in groups]


def standardised(x: keras.KerasTensor, standardise: Standardise, name: str) -> keras.KerasTensor:
    layer = keras.layers.Normalization(
        mean=standardise.mean.tolist(), variance=(standardise.std**2).tolist(), name=name
    )
    return ops.clip(layer(x), -CLIP, CLIP)


def judge_cells(
    cells: keras.KerasTensor, hidden_units: int, dropout: float = 0.0, seen: np.ndarray | None = None
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Score each cell and pool: standardised cells (B, h, w, C) → evidence (B, h, w), local logit (B,).

    Where `seen` says that some cells do not count, they are left out, and their evidence is the lowest of the others.

    The pool is a soft maximum, log-mean-exp, which neither averages a small defect away nor grows with the image, plus a linear
    term of the average cell. Dropout acts in training only.
    """
    grid = cells.shape[1:3]
    x = keras.layers.SpatialDropout2D(dropout / 3, name="local_channels")(counting(cells, seen))
    x = keras.layers.Dense(hidden_units, activation="relu", name="local_hidden")(x)
    x = keras.layers.Dropout(dropout, name="local_dropout")(x)
    evidence = ops.squeeze(keras.layers.Dense(1, name="local_evidence")(x), -1)
    average = keras.layers.Dense(1, use_bias=False, name="local_mean")(ops.mean(x, axis=(1, 2)))
    logit = pool_evidence(evidence, axis=(1, 2)) + ops.squeeze(average, -1)
    return on_grid(evidence, seen, grid), logit


def pool_evidence(evidence: keras.KerasTensor, axis: int | tuple[int, int]) -> keras.KerasTensor:
    """Return the log-mean-exp of the evidence over the axes of the cells: a soft maximum."""
    axes = (axis,) if isinstance(axis, int) else axis
    n_cells = np.prod([evidence.shape[one] for one in axes])
    return ops.logsumexp(evidence, axis=axis) - float(np.log(n_cells))


def write_local(model: keras.Model, local: Local) -> None:
    """Put weights into the layers of `judge_cells`."""
    model.get_layer("local_hidden").set_weights([local.hidden_weights, local.hidden_bias])
    evidence_bias = np.array([local.evidence_bias], np.float32)
    model.get_layer("local_evidence").set_weights([local.evidence_weights[:, None], evidence_bias])
    model.get_layer("local_mean").set_weights([local.mean_weights[:, None]])
