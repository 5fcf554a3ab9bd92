"""Train small Keras models on cached maps: several folds at once, keeping the epoch with the lowest held-out log loss."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from defect_detection.config.training import HyperparameterSet
from defect_detection.model.backend import keras, ops
from defect_detection.training.divergence import require_numbers
from defect_detection.training.features import Rows
from defect_detection.training.flips import turned
from defect_detection.training.folds import Folds

OnEpoch = Callable[[int, Mapping[str, float]], None]
_LEAST_STEPS = 16  # of an epoch: few images must not mean few steps


@dataclass(frozen=True)
class Examples:
    """The training data: inputs with one row per image, int labels (n_images,), and the folds that learn from each image.

    turns: the flips and turns that they are shown in; others are of no use to a network that doesn't see where a cell lies.
    """

    inputs: dict[str, Rows]
    labels: np.ndarray
    folds: Folds
    turns: tuple[int, ...] = (0,)

    def weights(self) -> np.ndarray:
        """Return how much each image counts in each fit, float32 (n_images, n_fits): both classes count the same."""
        learns = self.folds.learns
        counts = np.stack([learns[self.labels == label].sum(0) for label in (0, 1)])  # (2, n_fits)
        return learns * (learns.sum(0) / (2 * np.maximum(counts, 1)))[self.labels]


@dataclass(frozen=True)
class FitSchedule:
    """Passes over the images, the highest learning rate (it falls as a cosine), images per step, and when to stop early.

    patience: passes without a lower held-out log loss after which there are no more; None: never.
    rate_setting: the setting that the learning rate comes from, for texts.
    """

    epochs: int
    learning_rate: float
    batch_size: int
    patience: int | None = None
    rate_setting: str = "learning_rate"


class Turned:
    """Shuffled batches of maps, each batch in one of the eight flips and turns where the examples want it. The same for the same seed.

    All batches have one size, smaller than asked for where an epoch would have fewer than 16 of them. Which images an epoch
    leaves out for that changes from epoch to epoch.
    """

    def __init__(self, examples: Examples, batch_size: int, seed: int) -> None:
        self.examples, self.rng = examples, np.random.default_rng(seed)
        self.weights = examples.weights()
        self.rows = np.flatnonzero(self.weights.any(1))
        self.batch_size = min(batch_size, max(len(self.rows) // _LEAST_STEPS, 1))

    def __len__(self) -> int:
        return len(self.rows) // self.batch_size

    def epoch(self) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
        """Yield inputs, and targets (batch, 1 + n_fits) of one pass over the images: the label, then its weight in each fit."""
        order, turns = self.rng.permutation(self.rows), self.examples.turns
        for number in range(len(self)):
            rows = np.sort(order[number * self.batch_size : (number + 1) * self.batch_size])
            turn = turns[int(self.rng.integers(len(turns)))] if len(turns) > 1 else turns[0]
            labels = self.examples.labels[rows, None].astype(np.float32)
            inputs = {name: turned(values[rows], turn) for name, values in self.examples.inputs.items()}
            yield inputs, np.concatenate([labels, self.weights[rows]], axis=1)


def fit(
    model: keras.Model,
    examples: Examples,
    schedule: FitSchedule,
    settings: HyperparameterSet,
    seed: int,
    on_epoch: OnEpoch,
    held_out: Callable[[], np.ndarray] | None = None,
) -> np.ndarray:
    """Train a model that gives one logit per fit, and give it the weights of its best epoch.

    The best is that with the least log loss on held-out images (all of them together where several folds hold out).

    Args:
        held_out: gives each image's logit from the fit that holds it out, with the model's weights of the moment; the model itself
            is asked, for all fits of all images, when not given.

    Returns:
        each image's logit from the fit that held it out, after that epoch, (n_images,); NaN where none did.

    Raises:
        DivergedError: loss or held-out logits are no longer numbers.
    """
    batches = _compiled(model, examples, schedule, settings, seed)
    judge = held_out or (
        lambda: examples.folds.held_out(logits_of(model, examples.inputs, batches.batch_size))
    )
    best, best_epoch, kept, logits = np.inf, 0, model.get_weights(), np.empty(0)
    for epoch in range(schedule.epochs):
        losses = [model.train_on_batch(inputs, targets) for inputs, targets in batches.epoch()]
        with np.errstate(over="ignore", invalid="ignore"):
            now = judge()
        for name, values in (("loss", np.array(losses)), ("score", now[examples.folds.scored])):
            require_numbers(values, f"{name} after epoch {epoch + 1}", f"lower {schedule.rate_setting}")
        measured = _measure(now, examples)
        if measured["val_loss"] < best:
            best, best_epoch, kept, logits = measured["val_loss"], epoch, model.get_weights(), now
        on_epoch(epoch, {"loss": float(np.mean(losses)), **measured})
        if schedule.patience is not None and epoch - best_epoch >= schedule.patience:
            break
    model.set_weights(kept)
    return logits


def fit_to_the_end(
    model: keras.Model, examples: Examples, schedule: FitSchedule, settings: HyperparameterSet, seed: int
) -> None:
    """Train such a model for all epochs of its schedule: no held-out image decides which is the best.

    Raises:
        DivergedError: the loss is no longer a number.
    """
    batches = _compiled(model, examples, schedule, settings, seed)
    for epoch in range(schedule.epochs):
        losses = [model.train_on_batch(inputs, targets) for inputs, targets in batches.epoch()]
        require_numbers(np.array(losses), f"loss after epoch {epoch + 1}", f"lower {schedule.rate_setting}")


def _compiled(
    model: keras.Model, examples: Examples, schedule: FitSchedule, settings: HyperparameterSet, seed: int
) -> Turned:
    """Give the model its optimizer and loss, and return the batches."""
    batches = Turned(examples, schedule.batch_size, seed)
    rate = keras.optimizers.schedules.CosineDecay(schedule.learning_rate, schedule.epochs * len(batches))
    model.compile(
        optimizer=keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay, clipnorm=1.0),
        loss=_weighted_loss(settings.label_smoothing),
    )
    build_optimizer(model)
    return batches


def build_optimizer(model: keras.Model) -> None:
    """Make the optimizer's variables before the first step: where the step makes them, TensorFlow traces it twice."""
    model.optimizer.build(model.trainable_variables)


def _weighted_loss(label_smoothing: float) -> Callable[..., keras.KerasTensor]:
    def loss(targets: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
        labels = targets[:, :1] * (1 - label_smoothing) + label_smoothing / 2
        each = ops.relu(logits) - logits * labels + ops.softplus(-ops.abs(logits))
        return ops.mean(ops.sum(each * targets[:, 1:], axis=1))

    return loss


def _measure(logits: np.ndarray, examples: Examples) -> dict[str, float]:
    """Return log loss on held-out images, both classes counting the same, and AUROC."""
    some = examples.folds.scored
    logits, labels = logits[some], examples.labels[some]
    weights = 1 / np.bincount(labels, minlength=2)[labels]
    loss = np.average(np.logaddexp(0, logits) - labels * logits, weights=weights)
    return {"val_loss": float(loss), "val_auroc": float(roc_auc_score(labels, logits))}


def logits_of(model: keras.Model, inputs: Mapping[str, Rows], batch_size: int) -> np.ndarray:
    """Return the model's logits for all rows, float array of shape (n_images, n_fits)."""
    n_rows = len(next(iter(inputs.values())))
    batches = []
    for start in range(0, n_rows, batch_size):
        indices = np.minimum(np.arange(start, start + batch_size), n_rows - 1)  # one size: traced once
        batches.append(model.predict_on_batch({name: rows[indices] for name, rows in inputs.items()}))
    return np.concatenate(batches)[:n_rows]
