"""Pre-train the `compact` trunk on drawn scenes, with or without a teacher (`distillation`).

By itself it has four tasks at once, and nothing has seen a photograph: find and name the defects in each 8-px cell; say from the
pooled features of the whole image which defects it has, and what it is made of; and tell which two views show the same scene. The
recipes and what they gave are in docs/pretraining.md.
"""

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from defect_detection.model.backend import keras, ops
from defect_detection.model.heads import statistics
from defect_detection.model.named_weights import COMPACT, COMPACT_WEIGHTS, check_weights
from defect_detection.model.trunks import COMPACT_LEVELS, build_trunk, save_npz
from defect_detection.processes.watch import Follow, OnProgress
from defect_detection.synthetic.bank import CELL_PX, Bank, cell_targets, make_bank
from defect_detection.synthetic.defects import DEFECT_NAMES
from defect_detection.synthetic.scene import N_BACKGROUNDS
from defect_detection.training.distillation import LESSONS, Teacher, predictions, vary
from defect_detection.training.fit import build_optimizer
from defect_detection.training.recipe import TASKS, Recipe

_MEASURED = 512  # scenes that the means and deviations of the teacher's channels are measured on
_TEMPERATURE = 0.2


class Views(keras.utils.PyDataset):
    """Batches of the bank: two views of each scene, the second ones after the first. The same for the same seed and step.

    With a teacher, one view of each scene, and the teacher's maps of them.
    """

    def __init__(self, bank: Bank, recipe: Recipe) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self.bank, self.recipe, self.epoch = bank, recipe, 0
        rng = np.random.default_rng(recipe.seed)
        self.teacher = Teacher(vary(rng, bank.images[:_MEASURED])) if recipe.teacher else None

    def __len__(self) -> int:
        return self.recipe.steps_per_epoch

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        rng = np.random.default_rng([self.recipe.seed, self.epoch, index])
        rows = np.sort(rng.choice(len(self.bank.images), self.recipe.scenes_per_step, replace=False))
        if self.teacher:
            images = vary(rng, self.bank.images[rows])
            return images, self.teacher(images)
        views = [self._view(rng, rows) for _ in range(2)]
        images, cells = (np.concatenate(column) for column in zip(*views, strict=True))
        targets = cell_targets(cells)
        backgrounds = np.tile(self.bank.backgrounds[rows].astype(np.int32), 2)
        scenes = np.tile(np.arange(len(rows), dtype=np.int32), 2)
        return images, {
            "cells": targets,
            "defects": targets.max((1, 2)),
            "background": backgrounds,
            "scene": scenes,
        }

    def _view(self, rng: np.random.Generator, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cut a window from each scene, turn and mirror all alike, and recolour each."""
        cells, window = self.recipe.crop_px // CELL_PX, self.recipe.crop_px
        offsets = rng.integers(0, (self.recipe.size_px - window) // CELL_PX + 1, (len(rows), 2))
        images = [
            self.bank.images[row, y * CELL_PX :, x * CELL_PX :][:window, :window]
            for row, (y, x) in zip(rows, offsets, strict=True)
        ]
        touched = [
            self.bank.cells[row, y : y + cells, x : x + cells]
            for row, (y, x) in zip(rows, offsets, strict=True)
        ]
        turn, mirror = int(rng.integers(4)), int(rng.choice([-1, 1]))
        return (
            recolour(rng, np.rot90(np.stack(images), turn, (1, 2))[:, ::mirror]),
            np.rot90(np.stack(touched), turn, (1, 2))[:, ::mirror],
        )


def recolour(rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
    """Change contrast, brightness and the order of the channels of each image, and invert a third of them."""
    n = len(images)
    sign = np.where(rng.random(n) < 0.33, -1, 1)
    gain = sign * rng.uniform(0.6, 1.3, n)
    shift = rng.uniform(-25, 25, n)
    levels = np.arange(256, dtype=np.float32) - 127.5
    table = np.clip(levels * gain[:, None] + shift[:, None] + 127.5, 0, 255).astype(np.uint8)  # (n, 256)
    return np.stack(
        [lookup[image[..., rng.permutation(3)]] for lookup, image in zip(table, images, strict=True)]
    )


def build_model(recipe: Recipe) -> keras.Model:
    """Put the tasks' heads on the trunk that the recipe starts from."""
    trunk = build_trunk(COMPACT, recipe.start, recipe.crop_px, seed=recipe.seed).model
    levels = dict(zip(COMPACT_LEVELS, trunk.outputs, strict=True))
    heads = predictions if recipe.teacher else _own_tasks
    return keras.Model(trunk.inputs, heads(levels), name="pretraining")


def _own_tasks(levels: dict[str, keras.KerasTensor]) -> dict[str, keras.KerasTensor]:
    """Return what the tasks without a teacher ask for.

    cells (B, S/8, S/8, types + 1), defects (B, types + 1), background (B, n): logits; scene (B, 128) of length 1.
    """
    fine, middle, coarse = levels["level1"], levels["level2"], levels["level3"]
    upsampled = keras.layers.UpSampling2D(2, interpolation="nearest")(coarse)
    x = keras.layers.Concatenate()([keras.layers.AveragePooling2D(2)(fine), middle, upsampled])
    x = keras.layers.Conv2D(96, 1, activation="relu", name="cells_hidden")(x)
    whole = _float32(keras.layers.BatchNormalization)(
        statistics([ops.cast(level, "float32") for level in levels.values()])
    )
    joined = _float32(keras.layers.Dense, 256, activation="relu")(whole)
    return {
        "cells": _float32(keras.layers.Conv2D, len(DEFECT_NAMES) + 1, 1, name="cells")(x),
        "defects": _float32(keras.layers.Dense, len(DEFECT_NAMES) + 1, name="defects")(joined),
        "background": _float32(keras.layers.Dense, N_BACKGROUNDS, name="background")(joined),
        "scene": _float32(keras.layers.UnitNormalization, name="scene")(
            _float32(keras.layers.Dense, 128)(joined)
        ),
    }


def _float32(layer: type[keras.layers.Layer], *args: object, **settings: object) -> keras.layers.Layer:
    return layer(*args, **settings, dtype="float32")


def defect_loss(
    positive_weight: float,
) -> Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]:
    """Return binary cross-entropy on logits, with the weight `positive_weight` for positive labels."""

    def weighted(targets: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
        loss = ops.relu(logits) - logits * targets + ops.softplus(-ops.abs(logits))
        return ops.mean(loss * (1 + (positive_weight - 1) * targets))

    return weighted


def scene_loss(scenes: keras.KerasTensor, embeddings: keras.KerasTensor) -> keras.KerasTensor:
    """Cross-entropy of finding each view's other view among all others (InfoNCE; Chen et al. 2020, "SimCLR", eq. 1).

    Args:
        scenes: (2n,) numbers of the scenes; not used: the second views follow the first in the same order.
        embeddings: (2n, d), each of length 1.
    """
    n = ops.shape(embeddings)[0]
    likeness = ops.matmul(embeddings, ops.transpose(embeddings)) / _TEMPERATURE - 1e9 * ops.eye(n)
    others = ops.roll(ops.arange(n), n // 2)
    return ops.mean(keras.losses.sparse_categorical_crossentropy(others, likeness, from_logits=True))


def compile_model(model: keras.Model, recipe: Recipe) -> None:
    own = {
        "cells": defect_loss(recipe.positive_weight),
        "defects": defect_loss(1.0),
        "background": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "scene": scene_loss,
    }
    model.compile(
        optimizer=keras.optimizers.AdamW(
            recipe.learning_rate, weight_decay=recipe.weight_decay, clipnorm=1.0
        ),
        loss=dict.fromkeys(LESSONS, "mean_squared_error") if recipe.teacher else own,
        loss_weights=None if recipe.teacher else TASKS,
    )
    build_optimizer(model)


def run_pretraining(
    recipe: Recipe, cache_dir: Path, weights_path: Path | None, watch: Follow
) -> tuple[Path, dict[str, float]]:
    """Draw the bank, pre-train, and write the weights. Both parts go on where a stopped run left off.

    Args:
        weights_path: None for the file that the package ships.
        watch: is told the phase and how much of it is done.

    Raises:
        ConfigError: the teacher's weights are missing or altered.
    """
    if recipe.teacher:
        check_weights(recipe.teacher, "package")
    folder = cache_dir / "pretraining"
    path = weights_path or COMPACT_WEIGHTS["distilled" if recipe.teacher else "procedural"]
    figures = pretrain(
        _drawn(folder / "bank", recipe, 0, watch),
        recipe,
        folder / f"state-{recipe.digest}",
        path,
        lambda done, total: watch("steps", done, total),
        partial(_fresh, recipe, watch) if recipe.teacher else None,
    )
    return path, figures


def _drawn(folder: Path, recipe: Recipe, epoch: int, watch: Follow) -> Bank:
    return make_bank(
        folder,
        recipe.bank_images,
        recipe.size_px,
        recipe.seed + epoch,
        workers=os.cpu_count() or 1,
        spawn=epoch > 0,
        on_progress=lambda done, total: watch("drawing", done, total),
    )


def _fresh(recipe: Recipe, watch: Follow, epoch: int) -> Bank:
    with tempfile.TemporaryDirectory() as folder:
        return _drawn(Path(folder), recipe, epoch, watch)


def pretrain(
    bank: Bank,
    recipe: Recipe,
    state_dir: Path,
    weights_path: Path,
    on_progress: OnProgress,
    fresh: Callable[[int], Bank] | None = None,
) -> dict[str, float]:
    """Train, or go on where a stopped run left off, and write the trunk's weights. Return the last epoch's losses.

    Args:
        fresh: gives the scenes of each epoch after the first; None: all have those of `bank`.
    """
    keras.utils.set_random_seed(recipe.seed)
    batches = Views(bank, recipe)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(recipe.precision)
    try:
        model = build_model(recipe)
        compile_model(model, recipe)
        figures = _fit(model, batches, state_dir, on_progress, fresh)
    finally:
        keras.config.set_dtype_policy(policy)
    save_trunk(model, weights_path)
    return figures


def _fit(
    model: keras.Model,
    batches: Views,
    state_dir: Path,
    on_progress: OnProgress,
    fresh: Callable[[int], Bank] | None,
) -> dict[str, float]:
    recipe = batches.recipe
    state_dir.parent.mkdir(parents=True, exist_ok=True)

    def at_epoch(epoch: int, logs: object) -> None:
        batches.epoch = epoch  # also after a restart in the middle
        if fresh and epoch:
            batches.bank = fresh(epoch)

    def before_step(index: int, logs: object) -> None:
        model.optimizer.learning_rate = recipe.rate(batches.epoch * recipe.steps_per_epoch + index)

    def after_step(index: int, logs: object) -> None:
        on_progress(batches.epoch * recipe.steps_per_epoch + index + 1, recipe.steps)

    follow = keras.callbacks.LambdaCallback(
        on_epoch_begin=at_epoch, on_train_batch_begin=before_step, on_train_batch_end=after_step
    )
    resume = keras.callbacks.BackupAndRestore(str(state_dir), delete_checkpoint=False)
    epochs = recipe.steps // recipe.steps_per_epoch
    history = model.fit(batches, epochs=epochs, callbacks=[resume, follow], verbose=0)
    return {name: float(values[-1]) for name, values in history.history.items()}


def save_trunk(model: keras.Model, weights_path: Path) -> None:
    """Write the trunk's weights only, as `build_trunk` reads them."""
    trunk = keras.Model(model.inputs, model.get_layer("level3").output)
    save_npz(trunk, weights_path)
