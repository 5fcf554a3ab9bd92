"""Fit the local branch on cached cells, alone or together with the upper part of the trunk below it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

from defect_detection.config import HyperparameterSet
from defect_detection.model.heads import (
    Local,
    Standardise,
    judge_cells,
    read_local,
    standardised,
    write_local,
)
from defect_detection.training.features import Rows

OnEpoch = Callable[[int, Mapping[str, float]], None]
_STATISTICS_IMAGES = 256  # images whose cells give mean and spread


@dataclass(frozen=True)
class Side:
    """One side of the split: the network's inputs, one row per image, and int labels (n_images,)."""

    inputs: dict[str, Rows]
    labels: np.ndarray


class Turned(keras.utils.PyDataset):
    """Shuffled batches of maps, each batch in one of the eight flips and turns. The same for the same seed."""

    def __init__(self, side: Side, batch_size: int, seed: int) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self.side, self.batch_size, self.rng = side, batch_size, np.random.default_rng(seed)
        self.weights = class_weights(side.labels)
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self.side.labels) // self.batch_size)

    def on_epoch_end(self) -> None:
        self.order = self.rng.permutation(len(self.side.labels))

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        rows = np.sort(self.order[index * self.batch_size : (index + 1) * self.batch_size])
        turns, mirrored = int(self.rng.integers(4)), bool(self.rng.integers(2))
        inputs = {name: _turn(values[rows], turns, mirrored) for name, values in self.side.inputs.items()}
        labels = self.side.labels[rows]
        return inputs, labels.astype(np.float32), self.weights[labels]


def _turn(maps: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    turned = np.rot90(maps, turns, (1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if mirrored else turned)


def class_weights(labels: np.ndarray) -> np.ndarray:
    """Return the weight of an OK and of a defective image so that both classes count the same, float32 (2,)."""
    counts = np.maximum(np.bincount(labels, minlength=2), 1)
    return (len(labels) / (2 * counts)).astype(np.float32)


def fit_local(
    train: Side, validation: Side, settings: HyperparameterSet, seed: int, on_epoch: OnEpoch
) -> Local:
    """Train the local branch on frozen cells (input ``cells``). The best epoch by validation log loss is kept."""
    keras.utils.set_random_seed(seed)
    standardise = cell_statistics(train.inputs["cells"])
    cells = keras.Input(train.inputs["cells"].shape, name="cells")
    _, logit = judge_cells(
        standardised(cells, standardise, "standardise"), settings.hidden_units, settings.dropout
    )
    model = keras.Model({"cells": cells}, logit)
    fit(model, train, validation, settings, settings.epochs, settings.learning_rate, seed, on_epoch)
    return read_local(model, standardise)


def cell_statistics(cells: Rows) -> Standardise:
    """Return mean and spread of each channel over the cells of at most 256 training images."""
    chosen = np.linspace(0, len(cells) - 1, min(len(cells), _STATISTICS_IMAGES)).astype(int)
    values = cells[chosen].astype(np.float32).reshape(-1, cells.shape[-1])
    return Standardise.fit(values.mean(0), values.var(0))


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
    """Train a model that gives one logit, and leave it at its best epoch by validation log loss."""
    batches = Turned(train, settings.batch_size, seed)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * len(batches))
    model.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay, clipnorm=1.0),
        loss=keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=settings.label_smoothing),
    )
    best = BestEpoch(validation, settings.batch_size, on_epoch)
    model.fit(batches, epochs=epochs, verbose=0, callbacks=[best])


class BestEpoch(keras.callbacks.Callback):
    """Measure validation after each epoch, report it, and restore the best weights at the end."""

    def __init__(self, validation: Side, batch_size: int, on_epoch: OnEpoch) -> None:
        super().__init__()
        self.validation, self.batch_size, self.on_epoch = validation, batch_size, on_epoch
        self.lowest, self.weights = float("inf"), None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        logits = logits_of(self.model, self.validation.inputs, self.batch_size)
        weights = class_weights(self.validation.labels)[self.validation.labels]
        loss = float(np.average(np.logaddexp(0, logits) - self.validation.labels * logits, weights=weights))
        if loss < self.lowest:
            self.lowest, self.weights = loss, self.model.get_weights()
        auroc = float(roc_auc_score(self.validation.labels, logits))
        self.on_epoch(epoch, {"loss": float((logs or {})["loss"]), "val_loss": loss, "val_auroc": auroc})

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        if self.weights is not None:
            self.model.set_weights(self.weights)


def logits_of(model: keras.Model, inputs: Mapping[str, Rows], batch_size: int) -> np.ndarray:
    """Return the model's logits for all rows, float array of shape (n_images,)."""
    n_rows = len(next(iter(inputs.values())))
    batches = [
        model.predict_on_batch({name: rows[slice(i, i + batch_size)] for name, rows in inputs.items()})
        for i in range(0, n_rows, batch_size)
    ]
    return np.concatenate(batches)


def local_logit(local: Local, cells: Rows, batch_size: int = 64) -> np.ndarray:
    """Return the branch's logit for cached cells, float array of shape (n_images,)."""
    inputs = keras.Input(cells.shape, name="cells")
    _, logit = judge_cells(standardised(inputs, local.standardise, "standardise"), len(local.hidden_bias))
    model = keras.Model({"cells": inputs}, logit)
    write_local(model, local)
    return logits_of(model, {"cells": cells}, batch_size)
