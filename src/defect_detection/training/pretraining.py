"""Pre-train the `compact` trunk on drawn scenes and products. Nothing here has seen a photograph.

Four tasks on scenes: find and name the defects in each 8-px cell; say from the pooled features of the whole image which defects it
has, and what it is made of; and tell which two views show the same scene. And on products: learn one from some of its images, and
judge the others. The recipe and what it gave are in docs/pretraining.md.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops

from defect_detection.data.procedural.bank import (
    GENERATION,
    Bank,
    Products,
    make_bank,
    make_products,
)
from defect_detection.data.procedural.cells import CELL_PX, cell_targets
from defect_detection.data.procedural.defects import DEFECT_NAMES
from defect_detection.data.procedural.products import N_IMAGES
from defect_detection.data.procedural.scene import N_BACKGROUNDS
from defect_detection.model.heads import CELL_STRIDE, cell_features, pooled_features
from defect_detection.model.trunks import COMPACT, COMPACT_LEVELS, COMPACT_WEIGHTS, build_trunk, save_npz
from defect_detection.training.episodes import CellEpisode, ImageEpisode

_TASKS = {  # and their weights
    "cells": 1.0,
    "defects": 0.3,
    "background": 0.1,
    "scene": 0.1,
    "product": 0.3,
    "product_cells": 0.5,
    "product_by_cells": 0.2,
}
_TEMPERATURE = 0.2
_WARMUP_STEPS = 300
_DECAY = 0.3  # share of the steps at the end in which the learning rate falls
Arrays = dict[str, np.ndarray]
Tensors = dict[str, keras.KerasTensor]


@dataclass(frozen=True)
class Recipe:
    """What pre-training depends on.

    A step sees two views, `crop_px` square, of each of `scenes_per_step` scenes of `size_px`, and all images of `products_per_step`
    products. precision: Keras' dtype policy; mixed_bfloat16 is nearly twice as fast where the processor has it.
    """

    bank_images: int = 40_960
    bank_products: int = 3_072
    size_px: int = 128
    crop_px: int = 96
    steps: int = 9_000
    steps_per_epoch: int = 250
    scenes_per_step: int = 16
    products_per_step: int = 2
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    positive_weight: float = 4.0
    precision: str = "mixed_bfloat16"
    seed: int = 42

    def rate(self, step: int) -> float:
        """Return the learning rate: it rises, stays, and falls in a straight line at the end.

        While it stays it doesn't depend on `steps`: a run may be made longer or shorter before it falls.
        """
        left = (self.steps - step) / max(self.steps * _DECAY, 1)
        return self.learning_rate * max(min((step + 1) / min(_WARMUP_STEPS, self.steps), left, 1.0), 0.002)

    @property
    def digest(self) -> str:
        """Of all but the steps: what was trained with another one can't be gone on with."""
        settings = asdict(self) | {"steps": None, "generation": GENERATION, "tasks": _TASKS}
        return hashlib.sha256(repr(sorted(settings.items())).encode()).hexdigest()[:12]


class Views(keras.utils.PyDataset):
    """Batches: two views of each scene, the second ones after the first, then the products' images.

    The same for the same seed and step.
    """

    def __init__(self, bank: Bank, products: Products, recipe: Recipe) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self.bank, self.products, self.recipe, self.epoch = bank, products, recipe, 0

    def __len__(self) -> int:
        return self.recipe.steps_per_epoch

    def __getitem__(self, index: int) -> tuple[np.ndarray, Arrays]:
        rng = np.random.default_rng([self.recipe.seed, self.epoch, index])
        rows = np.sort(rng.choice(len(self.bank.images), self.recipe.scenes_per_step, replace=False))
        views = [self._view(rng, rows) for _ in range(2)]
        chosen = rng.choice(len(self.products.images), self.recipe.products_per_step, replace=False)
        products = [self._product(rng, number) for number in chosen]
        images = np.concatenate([image for image, *_ in (*views, *products)])
        targets = cell_targets(np.concatenate([cells for _, cells, *_ in (*views, *products)]))
        return images, {
            "cells": targets,
            "defects": targets.max((1, 2)),
            "background": np.tile(self.bank.backgrounds[rows].astype(np.int32), 2),
            "defective": np.stack([defective for *_, defective in products]).astype(np.float32),
        }

    def _view(self, rng: np.random.Generator, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cut a window from each scene, turn and mirror all alike, and recolour each."""
        cells, window = self.recipe.crop_px // CELL_PX, self.recipe.crop_px
        offsets = self._offsets(rng, len(rows))
        images = [
            self.bank.images[row, y * CELL_PX :, x * CELL_PX :][:window, :window]
            for row, (y, x) in zip(rows, offsets, strict=True)
        ]
        touched = [
            self.bank.cells[row, y : y + cells, x : x + cells]
            for row, (y, x) in zip(rows, offsets, strict=True)
        ]
        turn = _Turn(rng)
        return recolour(rng, turn(np.stack(images))), turn(np.stack(touched))

    def _product(self, rng: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cut the same window from all of a product's images, shuffle, turn, mirror and recolour them all alike.

        Returns:
            images; the cells' types of mark; which cells are defective, (32, h, w).
        """
        cells, (y, x) = self.recipe.crop_px // CELL_PX, self._offsets(rng, 1)[0]
        window = slice(y * CELL_PX, (y + cells) * CELL_PX), slice(x * CELL_PX, (x + cells) * CELL_PX)
        order, turn = rng.permutation(N_IMAGES), _Turn(rng)
        images = turn(self.products.images[number][order, *window])
        touched, defective = (
            turn(values[number][order, y : y + cells, x : x + cells])
            for values in (self.products.cells, self.products.defective)
        )
        recoloured = recolour(rng, images.reshape(1, -1, *images.shape[2:])).reshape(images.shape)
        return recoloured, touched, defective

    def _offsets(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return where windows begin, in cells: int (count, 2)."""
        room = (self.recipe.size_px - self.recipe.crop_px) // CELL_PX
        return rng.integers(0, room + 1, (count, 2))


class _Turn:
    """One of the eight flips and turns, for several arrays (n, h, w, …)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.turn, self.mirror = int(rng.integers(4)), int(rng.choice([-1, 1]))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        return np.rot90(values, self.turn, (1, 2))[:, :: self.mirror]


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


class Pretraining(keras.Model):
    """A fresh trunk with the tasks' heads on it.

    Image (B, S, S, 3) → cells (B, S/8, S/8, types + 1), defects (B, types + 1), background (B, n): logits; scene (B, 128) of length 1;
    and what products are learned from: pooled (B, F), grid (B, S/16, S/16, C).
    """

    def __init__(self, recipe: Recipe) -> None:
        trunk = build_trunk(COMPACT, None, recipe.crop_px, seed=recipe.seed).model
        super().__init__(trunk.inputs, _heads(trunk, recipe), name="pretraining")
        self.recipe = recipe
        self.image_episode, self.cell_episode = ImageEpisode(), CellEpisode(recipe.seed)
        self.image_episode.build()
        self.cell_episode.build()
        self.means = {name: keras.metrics.Mean(f"{name}_loss") for name in _TASKS}

    def compute_loss(
        self,
        x: keras.KerasTensor = None,
        y: Tensors | None = None,
        y_pred: Tensors | None = None,
        sample_weight: object = None,
        training: bool = True,
    ) -> keras.KerasTensor:
        assert y is not None and y_pred is not None
        losses = self._by_task(y, y_pred)
        for name, loss in losses.items():
            self.means[name].update_state(loss)
        return sum(weight * losses[name] for name, weight in _TASKS.items())

    def _by_task(self, targets: Tensors, outputs: Tensors) -> Tensors:
        n_views, n_products = 2 * self.recipe.scenes_per_step, self.recipe.products_per_step
        defective = targets["defective"]  # (products, images, h, w)
        by_image = ops.max(defective, (2, 3))
        grid = self.recipe.crop_px // CELL_STRIDE
        coarse = ops.reshape(defective, (n_products, N_IMAGES, grid, 2, grid, 2))
        by_cell = ops.reshape(ops.max(coarse, (3, 5)), (n_products, N_IMAGES, grid * grid))
        pooled, cells = outputs["pooled"][n_views:], outputs["grid"][n_views:]
        pooled = ops.reshape(pooled, (n_products, N_IMAGES, pooled.shape[-1]))
        cells = ops.reshape(cells, (n_products, N_IMAGES, grid * grid, cells.shape[-1]))
        of_cells, of_images = self.cell_episode(cells, by_cell)
        return {
            "cells": defect_loss(targets["cells"], outputs["cells"], self.recipe.positive_weight),
            "defects": defect_loss(targets["defects"], outputs["defects"], 1.0),
            "background": ops.mean(
                keras.losses.sparse_categorical_crossentropy(
                    targets["background"], outputs["background"][:n_views], from_logits=True
                )
            ),
            "scene": scene_loss(outputs["scene"][:n_views]),
            "product": self.image_episode(pooled, by_image),
            "product_cells": of_cells,
            "product_by_cells": of_images,
        }


def _heads(trunk: keras.Model, recipe: Recipe) -> Tensors:
    levels = dict(zip(COMPACT_LEVELS, trunk.outputs, strict=True))
    fine, middle, coarse = levels["level1"], levels["level2"], levels["level3"]
    upsampled = keras.layers.UpSampling2D(2, interpolation="nearest")(coarse)
    x = keras.layers.Concatenate()([keras.layers.AveragePooling2D(2)(fine), middle, upsampled])
    x = keras.layers.Conv2D(96, 1, activation="relu", name="cells_hidden")(x)
    maps = [ops.cast(level, "float32") for level in trunk.outputs]
    pooled = _float32(keras.layers.BatchNormalization, name="pooled")(pooled_features(maps))
    joined = _float32(keras.layers.Dense, 256, activation="relu")(pooled)
    return {
        "cells": _float32(keras.layers.Conv2D, len(DEFECT_NAMES) + 1, 1, name="cells")(x),
        "defects": _float32(keras.layers.Dense, len(DEFECT_NAMES) + 1, name="defects")(joined),
        "background": _float32(keras.layers.Dense, N_BACKGROUNDS, name="background")(joined),
        "scene": _float32(keras.layers.UnitNormalization, name="scene")(
            _float32(keras.layers.Dense, 128)(joined)
        ),
        "pooled": pooled,
        "grid": cell_features(maps, recipe.crop_px),
    }


def _float32(layer: type[keras.layers.Layer], *args: object, **settings: object) -> keras.layers.Layer:
    return layer(*args, **settings, dtype="float32")


def defect_loss(
    targets: keras.KerasTensor, logits: keras.KerasTensor, positive_weight: float
) -> keras.KerasTensor:
    """Binary cross-entropy in which a defect that is there counts `positive_weight` times."""
    loss = ops.relu(logits) - logits * targets + ops.softplus(-ops.abs(logits))
    return ops.mean(loss * (1 + (positive_weight - 1) * targets))


def scene_loss(embeddings: keras.KerasTensor) -> keras.KerasTensor:
    """Cross-entropy of finding each view's other view among all others (InfoNCE; Chen et al. 2020, "SimCLR", eq. 1).

    Args:
        embeddings: (2n, d), each of length 1; the second views follow the first in the same order.
    """
    n = ops.shape(embeddings)[0]
    likeness = ops.matmul(embeddings, ops.transpose(embeddings)) / _TEMPERATURE - 1e9 * ops.eye(n)
    others = ops.roll(ops.arange(n), n // 2)
    return ops.mean(keras.losses.sparse_categorical_crossentropy(others, likeness, from_logits=True))


def compile_model(model: Pretraining, recipe: Recipe) -> None:
    optimizer = keras.optimizers.AdamW(
        recipe.learning_rate, weight_decay=recipe.weight_decay, global_clipnorm=1.0
    )
    optimizer.exclude_from_weight_decay(var_names=["episode"])
    model.compile(optimizer=optimizer)


def run_pretraining(
    recipe: Recipe, cache_dir: Path, weights_path: Path | None, watch: Callable[[str, int, int], None]
) -> tuple[Path, dict[str, float]]:
    """Draw the bank, pre-train, and write the weights. Both parts go on where a stopped run left off.

    Args:
        weights_path: None for the file that the package ships.
        watch: is told the phase and how much of it is done.
    """
    folder, workers = cache_dir / "pretraining", os.cpu_count() or 1
    bank = make_bank(
        folder / "bank",
        recipe.bank_images,
        recipe.size_px,
        recipe.seed,
        workers=workers,
        on_progress=lambda done, total: watch("drawing scenes", done, total),
    )
    products = make_products(
        folder / "bank",
        recipe.bank_products,
        recipe.size_px,
        recipe.seed,
        workers=workers,
        on_progress=lambda done, total: watch("drawing products", done, total),
    )
    path = weights_path or COMPACT_WEIGHTS
    batches, state = Views(bank, products, recipe), folder / f"state-{recipe.digest}"
    figures = pretrain(batches, state, path, lambda done, total: watch("steps", done, total))
    return path, figures


def pretrain(
    batches: Views, state_dir: Path, weights_path: Path, on_progress: Callable[[int, int], None]
) -> dict[str, float]:
    """Train, or go on where a stopped run left off, and write the trunk's weights. Return the last epoch's losses."""
    recipe = batches.recipe
    keras.utils.set_random_seed(recipe.seed)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(recipe.precision)
    try:
        model = Pretraining(recipe)
        compile_model(model, recipe)
        figures = _fit(model, batches, state_dir, on_progress)
    finally:
        keras.config.set_dtype_policy(policy)
    save_trunk(model, weights_path)
    return figures


def _fit(
    model: Pretraining, batches: Views, state_dir: Path, on_progress: Callable[[int, int], None]
) -> dict[str, float]:
    recipe = batches.recipe
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
