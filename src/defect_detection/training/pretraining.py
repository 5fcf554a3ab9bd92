"""Pre-train the `compact` trunk on drawn scenes: find and name the defects in each 8-px cell, and name the background.

Nothing here has seen a photograph. The recipe and what it gave are in docs/pretraining.md.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from defect_detection.data.procedural.bank import Bank, cell_targets, make_bank
from defect_detection.data.procedural.defects import DEFECT_NAMES
from defect_detection.data.procedural.scene import N_BACKGROUNDS
from defect_detection.model.trunks import COMPACT, COMPACT_WEIGHTS, build_trunk, save_npz


@dataclass(frozen=True)
class Recipe:
    """What pre-training depends on. Images are `size_px` square; a step sees `batch_size` of them."""

    bank_images: int = 32_768
    size_px: int = 96
    steps: int = 4_800
    steps_per_epoch: int = 300
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    positive_weight: float = 4.0
    seed: int = 42


class Augmented(keras.utils.PyDataset):
    """Batches of the bank, turned, mirrored, inverted and recoloured at random; the same for the same seed and step."""

    def __init__(self, bank: Bank, recipe: Recipe) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self.bank, self.recipe, self.epoch = bank, recipe, 0

    def __len__(self) -> int:
        return self.recipe.steps_per_epoch

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        rng = np.random.default_rng([self.recipe.seed, self.epoch, index])
        rows = np.sort(rng.choice(len(self.bank.images), self.recipe.batch_size, replace=False))
        images, cells = self.bank.images[rows], self.bank.cells[rows]
        images, cells = np.rot90(images, k := int(rng.integers(4)), (1, 2)), np.rot90(cells, k, (1, 2))
        if rng.random() < 0.5:
            images, cells = images[:, ::-1], cells[:, ::-1]
        targets = {"cells": cell_targets(cells), "background": self.bank.backgrounds[rows]}
        return recolour(rng, images), targets


def recolour(rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
    """Change contrast, brightness and the order of the channels of each image, and invert a third of them."""
    n = len(images)
    images = images[..., rng.permutation(3)]
    sign = np.where(rng.random(n) < 0.33, -1, 1)
    gain = sign * rng.uniform(0.6, 1.3, n)
    shift = rng.uniform(-25, 25, n)
    levels = np.arange(256, dtype=np.float32) - 127.5
    table = np.clip(levels * gain[:, None] + shift[:, None] + 127.5, 0, 255).astype(np.uint8)  # (n, 256)
    return np.stack([lookup[image] for lookup, image in zip(table, images, strict=True)])


def build_model(recipe: Recipe) -> keras.Model:
    """Put the two tasks' heads on a fresh trunk: image (B, S, S, 3) → cells (B, S/8, S/8, types + 1), background (B, n)."""
    trunk = build_trunk(COMPACT, None, recipe.size_px, seed=recipe.seed).model
    fine, middle, coarse = trunk.outputs
    upsampled = keras.layers.UpSampling2D(2, interpolation="nearest")(coarse)
    x = keras.layers.Concatenate()([keras.layers.AveragePooling2D(2)(fine), middle, upsampled])
    x = keras.layers.Conv2D(96, 1, activation="relu", name="cells_hidden")(x)
    cells = keras.layers.Conv2D(len(DEFECT_NAMES) + 1, 1, name="cells")(x)
    pooled = keras.layers.GlobalAveragePooling2D()(coarse)
    background = keras.layers.Dense(N_BACKGROUNDS, name="background")(pooled)
    return keras.Model(trunk.inputs, {"cells": cells, "background": background}, name="pretraining")


def cell_loss(positive_weight: float) -> keras.losses.Loss:
    """Return binary cross-entropy on logits in which a cell with a defect counts `positive_weight` times."""

    def weighted(targets: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
        loss = keras.ops.binary_crossentropy(targets, logits, from_logits=True)
        return keras.ops.mean(loss * (1 + (positive_weight - 1) * targets))

    return weighted


def compile_model(model: keras.Model, recipe: Recipe) -> None:
    warmup = min(300, recipe.steps // 16)
    schedule = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 30,
        recipe.steps - warmup,
        alpha=0.002,
        warmup_target=recipe.learning_rate,
        warmup_steps=warmup,
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay, clipnorm=1.0),
        loss={
            "cells": cell_loss(recipe.positive_weight),
            "background": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        },
        loss_weights={"cells": 1.0, "background": 0.1},
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
        bank, recipe, folder / f"state-{recipe.steps}", path, lambda done, total: watch("steps", done, total)
    )
    return path, figures


def pretrain(
    bank: Bank, recipe: Recipe, state_dir: Path, weights_path: Path, on_progress: Callable[[int, int], None]
) -> dict[str, float]:
    """Train, or go on where a stopped run left off, and write the trunk's weights. Return the last epoch's losses."""
    keras.utils.set_random_seed(recipe.seed)
    model = build_model(recipe)
    compile_model(model, recipe)
    batches = Augmented(bank, recipe)
    state_dir.parent.mkdir(parents=True, exist_ok=True)
    follow = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setattr(
            batches, "epoch", epoch
        ),  # also after a restart in the middle
        on_train_batch_end=lambda batch, logs: on_progress(
            batches.epoch * recipe.steps_per_epoch + batch + 1, recipe.steps
        ),
    )
    resume = keras.callbacks.BackupAndRestore(str(state_dir), delete_checkpoint=False)
    epochs = recipe.steps // recipe.steps_per_epoch
    history = model.fit(batches, epochs=epochs, callbacks=[resume, follow], verbose=0)
    save_trunk(model, weights_path)
    return {name: float(values[-1]) for name, values in history.history.items()}


def save_trunk(model: keras.Model, weights_path: Path) -> None:
    """Write the trunk's weights only, as `build_trunk` reads them."""
    trunk = keras.Model(model.inputs, model.get_layer("level3").output)
    save_npz(trunk, weights_path)
