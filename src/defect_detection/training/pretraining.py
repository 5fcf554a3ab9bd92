"""Pre-train the `compact` trunk on drawn scenes. Nothing here has seen a photograph.

Four tasks at once: find and name the defects in each 8-px cell; say from the pooled features of the whole image which defects it has,
and what it is made of; and tell which two views show the same scene. The recipe and what it gave are in docs/pretraining.md.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from defect_detection.data.procedural.bank import CELL_PX, GENERATION, Bank, cell_targets, make_bank
from defect_detection.data.procedural.defects import DEFECT_NAMES
from defect_detection.data.procedural.scene import N_BACKGROUNDS
from defect_detection.model.backend import keras, ops
from defect_detection.model.heads import statistics
from defect_detection.model.trunks import (
    COMPACT,
    COMPACT_CHANNELS,
    COMPACT_LEVELS,
    COMPACT_WEIGHTS,
    build_trunk,
    save_npz,
)

_TASKS = {"cells": 1.0, "defects": 0.3, "background": 0.1, "scene": 0.1}  # and their weights
_TEMPERATURE = 0.2
_WARMUP_STEPS = 300
_DECAY = 0.3  # share of the steps at the end in which the learning rate falls


@dataclass(frozen=True)
class Recipe:
    """What pre-training depends on. A step sees two views, `crop_px` square, of each of `scenes_per_step` scenes of `size_px`.

    precision: Keras' dtype policy; mixed_bfloat16 is up to twice as fast where the processor has it, and 7 times slower elsewhere.
    """

    bank_images: int = 40_960
    size_px: int = 128
    crop_px: int = 96
    steps: int = 7_500
    steps_per_epoch: int = 250
    scenes_per_step: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    positive_weight: float = 4.0
    precision: str = "float32"
    seed: int = 42

    def rate(self, step: int) -> float:
        """Return the learning rate: it rises, stays, and falls in a straight line at the end.

        While it stays it doesn't depend on `steps`: a run may be made longer or shorter before it falls.
        """
        left = (self.steps - step) / max(self.steps * _DECAY, 1)
        return self.learning_rate * max(min((step + 1) / min(_WARMUP_STEPS, self.steps), left, 1.0), 0.002)

    @property
    def digest(self) -> str:
        """Of all but the steps: what another recipe, other scenes or another width trained can't be gone on with."""
        settings = asdict(self) | {
            "steps": None,
            "generation": GENERATION,
            "tasks": _TASKS,
            "channels": COMPACT_CHANNELS,
        }
        return hashlib.sha256(repr(sorted(settings.items())).encode()).hexdigest()[:12]


class Views(keras.utils.PyDataset):
    """Batches of the bank: two views of each scene, the second ones after the first. The same for the same seed and step."""

    def __init__(self, bank: Bank, recipe: Recipe) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self.bank, self.recipe, self.epoch = bank, recipe, 0

    def __len__(self) -> int:
        return self.recipe.steps_per_epoch

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        rng = np.random.default_rng([self.recipe.seed, self.epoch, index])
        rows = np.sort(rng.choice(len(self.bank.images), self.recipe.scenes_per_step, replace=False))
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
    """Put the tasks' heads on a fresh trunk.

    Image (B, S, S, 3) → cells (B, S/8, S/8, types + 1), defects (B, types + 1), background (B, n): logits; scene (B, 128) of length 1.
    """
    trunk = build_trunk(COMPACT, None, recipe.crop_px, seed=recipe.seed).model
    levels = dict(zip(COMPACT_LEVELS, trunk.outputs, strict=True))
    fine, middle, coarse = levels["level1"], levels["level2"], levels["level3"]
    upsampled = keras.layers.UpSampling2D(2, interpolation="nearest")(coarse)
    x = keras.layers.Concatenate()([keras.layers.AveragePooling2D(2)(fine), middle, upsampled])
    x = keras.layers.Conv2D(96, 1, activation="relu", name="cells_hidden")(x)
    whole = _float32(keras.layers.BatchNormalization)(
        statistics([ops.cast(level, "float32") for level in trunk.outputs])
    )
    joined = _float32(keras.layers.Dense, 256, activation="relu")(whole)
    outputs = {
        "cells": _float32(keras.layers.Conv2D, len(DEFECT_NAMES) + 1, 1, name="cells")(x),
        "defects": _float32(keras.layers.Dense, len(DEFECT_NAMES) + 1, name="defects")(joined),
        "background": _float32(keras.layers.Dense, N_BACKGROUNDS, name="background")(joined),
        "scene": _float32(keras.layers.UnitNormalization, name="scene")(
            _float32(keras.layers.Dense, 128)(joined)
        ),
    }
    return keras.Model(trunk.inputs, outputs, name="pretraining")


def _float32(layer: type[keras.layers.Layer], *args: object, **settings: object) -> keras.layers.Layer:
    return layer(*args, **settings, dtype="float32")


def defect_loss(
    positive_weight: float,
) -> Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]:
    """Return binary cross-entropy on logits in which a defect that is there counts `positive_weight` times."""

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
    model.compile(
        optimizer=keras.optimizers.AdamW(
            recipe.learning_rate, weight_decay=recipe.weight_decay, clipnorm=1.0
        ),
        loss={
            "cells": defect_loss(recipe.positive_weight),
            "defects": defect_loss(1.0),
            "background": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "scene": scene_loss,
        },
        loss_weights=_TASKS,
    )


def run_pretraining(
    recipe: Recipe, cache_dir: Path, weights_path: Path | None, watch: Callable[[str, int, int], None]
) -> tuple[Path, dict[str, float]]:
    """Draw the bank, pre-train, and write the weights. Both parts go on where a stopped run left off.

    Args:
        weights_path: None for the file that the package ships.
        watch: is told the phase and how much of it is done.
    """
    folder = cache_dir / "pretraining"
    bank = make_bank(
        folder / "bank",
        recipe.bank_images,
        recipe.size_px,
        recipe.seed,
        workers=os.cpu_count() or 1,
        on_progress=lambda done, total: watch("drawing", done, total),
    )
    path = weights_path or COMPACT_WEIGHTS
    figures = pretrain(
        bank,
        recipe,
        folder / f"state-{recipe.digest}",
        path,
        lambda done, total: watch("steps", done, total),
    )
    return path, figures


def pretrain(
    bank: Bank, recipe: Recipe, state_dir: Path, weights_path: Path, on_progress: Callable[[int, int], None]
) -> dict[str, float]:
    """Train, or go on where a stopped run left off, and write the trunk's weights. Return the last epoch's losses."""
    keras.utils.set_random_seed(recipe.seed)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(recipe.precision)
    try:
        model = build_model(recipe)
        compile_model(model, recipe)
        figures = _fit(model, bank, recipe, state_dir, on_progress)
    finally:
        keras.config.set_dtype_policy(policy)
    save_trunk(model, weights_path)
    return figures


def _fit(
    model: keras.Model, bank: Bank, recipe: Recipe, state_dir: Path, on_progress: Callable[[int, int], None]
) -> dict[str, float]:
    batches = Views(bank, recipe)
    state_dir.parent.mkdir(parents=True, exist_ok=True)

    def at_epoch(epoch: int, logs: object) -> None:
        batches.epoch = epoch  # also after a restart in the middle

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
