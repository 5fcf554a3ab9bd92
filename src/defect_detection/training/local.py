"""Fit the local branch on cached cells, alone or together with the upper part of the trunk below it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import keras
import numpy as np
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

from defect_detection.config import HyperparameterSet
from defect_detection.model.heads import (
    Local,
    Standardise,
    judge_cells,
    read_local,
)
from defect_detection.training.features import Rows, turned

OnEpoch = Callable[[int, Mapping[str, float]], None]
_STATISTICS_IMAGES = 256  # images whose cells give mean and spread


@dataclass(frozen=True)
class Side:
    """One side of the split: the network's inputs, one row per image, and int labels (n_images,)."""

    inputs: dict[str, Rows]
    labels: np.ndarray


class Turned:
    """Shuffled batches of maps, each batch in one of the eight flips and turns. The same for the same seed.

    All batches have one size; which images an epoch leaves out for that changes from epoch to epoch.
    """

    def __init__(self, side: Side, batch_size: int, seed: int) -> None:
        self.side, self.rng = side, np.random.default_rng(seed)
        self.weights = class_weights(side.labels)
        self.batch_size = min(batch_size, len(side.labels))

    def __len__(self) -> int:
        return len(self.side.labels) // self.batch_size

    def epoch(self) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]]:
        """Yield inputs, labels and weights of one pass over the images."""
        order = self.rng.permutation(len(self.side.labels))
        for number in range(len(self)):
            rows = np.sort(order[number * self.batch_size : (number + 1) * self.batch_size])
            turn = int(self.rng.integers(8))
            labels = self.side.labels[rows]
            inputs = {name: turned(values[rows], turn) for name, values in self.side.inputs.items()}
            yield inputs, labels.astype(np.float32), self.weights[labels]


def class_weights(labels: np.ndarray) -> np.ndarray:
    """Return the weight of an OK and of a defective image so that both classes count the same, float32 (2,)."""
    counts = np.maximum(np.bincount(labels, minlength=2), 1)
    return (len(labels) / (2 * counts)).astype(np.float32)


@dataclass(frozen=True)
class Cells:
    """What the local branch trains on: cells standardised, clipped and rotated onto their strongest components.

    Half precision, shape (n_images, h, w, n_components); the rotation, (n_channels, n_components), folds into the first layer,
    so the graph never sees it.
    """

    standardise: Standardise
    rotation: np.ndarray
    train: Rows
    validation: Rows


def rotated_cells(train: Rows, validation: Rows, components: int = 128) -> Cells:
    """Fit standardisation and rotation on training cells and apply them to both sides, a few images at a time."""
    standardise = cell_statistics(train)
    sample = standardise(_sample(train)).reshape(-1, train.shape[-1])
    _, axes = np.linalg.eigh(sample.T @ sample)  # eigenvalues ascend
    rotation = np.ascontiguousarray(axes[:, ::-1][:, :components])
    return Cells(
        standardise, rotation, *(_rotate(rows, standardise, rotation) for rows in (train, validation))
    )


def _rotate(rows: Rows, standardise: Standardise, rotation: np.ndarray) -> Rows:
    rotated = np.empty((len(rows), *rows.shape[:-1], rotation.shape[1]), np.float16)
    for start in range(0, len(rows), 64):
        cells = standardise(rows[start : start + 64])
        # One large product: numpy multiplies a stack of small matrices twenty times slower.
        product = cells.reshape(-1, cells.shape[-1]) @ rotation
        rotated[start : start + 64] = product.reshape(*cells.shape[:-1], -1)
    return Rows(rotated, np.arange(len(rows)))


def fit_local(
    cells: Cells,
    labels: tuple[np.ndarray, np.ndarray],
    settings: HyperparameterSet,
    seed: int,
    on_epoch: OnEpoch,
) -> Local:
    """Train the local branch on frozen cells.

    Args:
        labels: of the training and the validation images, int arrays of shape (n_images,), 1 = defective.
    """
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(cells.train.shape, name="cells")
    model = keras.Model({"cells": inputs}, judge_cells(inputs, settings.hidden_units, settings.dropout)[1])
    train, validation = Side({"cells": cells.train}, labels[0]), Side({"cells": cells.validation}, labels[1])
    fit(model, train, validation, settings, settings.epochs, settings.learning_rate, seed, on_epoch)
    local = read_local(model, cells.standardise)
    return replace(local, hidden_weights=(cells.rotation @ local.hidden_weights).astype(np.float32))


def cell_statistics(cells: Rows) -> Standardise:
    """Return mean and spread of each channel over the cells of at most 256 training images."""
    values = _sample(cells).reshape(-1, cells.shape[-1])
    return Standardise.fit(values.mean(0), values.var(0))


def _sample(cells: Rows) -> np.ndarray:
    chosen = np.linspace(0, len(cells) - 1, min(len(cells), _STATISTICS_IMAGES)).astype(int)
    return cells[chosen].astype(np.float32)


def fit(
    model: keras.Model,
    train: Side,
    validation: Side,
    settings: HyperparameterSet,
    epochs: int,
    learning_rate: float,
    seed: int,
    on_epoch: OnEpoch,
) -> None:
    """Train a model that gives one logit, to the end of its learning rate schedule.

    Not the best epoch by validation: with a few parts in validation that epoch is chosen by chance (docs/decisions).
    """
    batches = Turned(train, settings.batch_size, seed)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * len(batches))
    model.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay, clipnorm=1.0),
        loss=keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=settings.label_smoothing),
    )
    for epoch in range(epochs):
        losses = [
            model.train_on_batch(inputs, labels, sample_weight=weights)
            for inputs, labels, weights in batches.epoch()
        ]
        measured = _measure(logits_of(model, validation.inputs, settings.batch_size), validation.labels)
        on_epoch(epoch, {"loss": float(np.mean(losses)), **measured})


def _measure(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return log loss, both classes counting the same, and AUROC."""
    loss = np.average(np.logaddexp(0, logits) - labels * logits, weights=class_weights(labels)[labels])
    return {"val_loss": float(loss), "val_auroc": float(roc_auc_score(labels, logits))}


def logits_of(model: keras.Model, inputs: Mapping[str, Rows], batch_size: int) -> np.ndarray:
    """Return the model's logits for all rows, float array of shape (n_images,)."""
    n_rows = len(next(iter(inputs.values())))
    batches = []
    for start in range(0, n_rows, batch_size):
        indices = np.minimum(np.arange(start, start + batch_size), n_rows - 1)  # one size: traced once
        batches.append(model.predict_on_batch({name: rows[indices] for name, rows in inputs.items()}))
    return np.concatenate(batches)[:n_rows]


def local_logit(local: Local, cells: Rows) -> np.ndarray:
    """Return the branch's logit for cached cells, float array of shape (n_images,): what `judge_cells` computes."""
    return np.concatenate([_local_logit(local, cells[i : i + 64]) for i in range(0, len(cells), 64)])


def _local_logit(local: Local, cells: np.ndarray) -> np.ndarray:
    flat = local.standardise(cells).reshape(-1, cells.shape[-1])
    hidden = np.maximum(flat @ local.hidden_weights + local.hidden_bias, 0)
    evidence = (hidden @ local.evidence_weights + local.evidence_bias).reshape(len(cells), -1)
    average = hidden.reshape(len(cells), -1, hidden.shape[-1]).mean(1)
    return logsumexp(evidence, axis=1) - np.log(evidence.shape[1]) + average @ local.mean_weights
