"""Train the upper part of a trunk together with the local branch, on cached activations of the part below it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from defect_detection.config.training import HyperparameterSet
from defect_detection.data.cache import RowStore
from defect_detection.errors import ConfigError
from defect_detection.model.backend import keras
from defect_detection.model.heads import Standardise, cell_features, judge_cells, standardised
from defect_detection.model.trunks import Trunk, fingerprint
from defect_detection.training.features import Rows, activations
from defect_detection.training.fit import Examples, FitSchedule, OnEpoch, fit
from defect_detection.training.flips import symmetries
from defect_detection.training.folds import Folds
from defect_detection.training.local_branch import cell_statistics

BELOW = "below"  # the cached activations that the trained part starts from
FIXED = "fixed"  # cells of the levels that stay as they are


def fine_tune(
    trunk: Trunk,
    settings: HyperparameterSet,
    keys: Sequence[str],
    labels: np.ndarray,
    folds: Folds,
    pixels: RowStore,
    cache_dir: Path,
    seed: int,
    on_epoch: OnEpoch,
    seen: np.ndarray | None = None,
) -> Trunk:
    """Return the trunk with everything from layer ``settings.trainable_from`` up trained on the images.

    The trunk given is changed. Its BatchNormalization stays in inference mode, unless it starts from random weights.

    Args:
        keys, labels: content hashes and int labels (n_images,).
        folds: one fold, whose images are held out; no refit.
        seen: pixels of the images that count; None: all.

    Raises:
        ConfigError: the trunk has no such layer, or can't be cut below it. DivergedError: as `fit`.
    """
    keras.utils.set_random_seed(seed)
    cut = cut_below(trunk, settings.trainable_from)
    turns = symmetries(trunk.model.input_shape[1:3], seen)
    examples = Examples(_inputs_below(trunk, cut, keys, pixels, cache_dir), labels, folds, turns)
    _set_trainable(trunk, cut)
    model = _trainable_part(trunk, cut, settings, examples, seen)
    fit(model, examples, _schedule(trunk, settings), settings, seed, on_epoch)
    return Trunk(
        trunk.model,
        trunk.levels,
        trunk.name,
        f"fine-tuned {trunk.weights or 'random'}",
        fingerprint(trunk.model),
    )


def _schedule(trunk: Trunk, settings: HyperparameterSet) -> FitSchedule:
    prefix = "" if trunk.weights is None else "fine_tune_"
    epochs, rate = (getattr(settings, f"{prefix}{name}") for name in ("epochs", "learning_rate"))
    return FitSchedule(epochs, rate, settings.batch_size, settings.patience, f"{prefix}learning_rate")


def cut_below(trunk: Trunk, layer_name: str | None) -> int:
    """Return the index of the first layer to train: the named one, or the first of the stage with that name.

    ``level3`` of `compact` names its last stage, whose first layer is ``level3_down_conv``. None cuts at the image.
    """
    layers = trunk.model.layers
    if layer_name is None:
        return 1
    named = [
        i
        for i, layer in enumerate(layers)
        if layer.name == layer_name or layer.name.startswith(f"{layer_name}_")
    ]
    if not named:
        raise ConfigError(
            f"trainable_from: trunk {trunk.name} has no layer {layer_name!r}; its levels are {', '.join(trunk.levels)}"
        )
    first = named[0]
    above = {id(layer.output) for layer in layers[first:]}
    below = {id(x) for layer in layers[first:] for x in _inputs(layer) if id(x) not in above}
    if len(below) != 1:
        raise ConfigError(
            f"trainable_from: {layer_name!r} of {trunk.name} is not the start of a stage: {len(below)} connections bypass "
            "it; use a layer that all connections pass through"
        )
    return first


def _inputs(layer: keras.layers.Layer) -> list[keras.KerasTensor]:
    return layer.input if isinstance(layer.input, list) else [layer.input]


def _inputs_below(
    trunk: Trunk, cut: int, keys: Sequence[str], pixels: RowStore, cache_dir: Path
) -> dict[str, Rows]:
    """Return the training input of the part above the cut: cached activations, or pixels if everything is trained."""
    if isinstance(trunk.model.layers[cut - 1], keras.layers.InputLayer):
        return {BELOW: Rows(*pixels.view(keys))}
    return activations(_frozen_part(trunk, cut), keys, pixels, cache_dir)


def _frozen_part(trunk: Trunk, cut: int) -> keras.Model:
    """The part below the cut: image → activations at the cut, and the cells of the levels below it."""
    outputs = {BELOW: _inputs(trunk.model.layers[cut])[0]}
    if fixed := [output for output, below in _levels(trunk, cut) if below]:
        outputs[FIXED] = cell_features(fixed, trunk.model.input_shape[1:3])
    return keras.Model(trunk.model.inputs, outputs, name="below")


def _levels(trunk: Trunk, cut: int) -> list[tuple[keras.KerasTensor, bool]]:
    """Return the output of each level, and whether the level is below the cut."""
    order = [layer.name for layer in trunk.model.layers]
    return [
        (output, order.index(level) < cut)
        for level, output in zip(trunk.levels, trunk.model.outputs, strict=True)
    ]


def _set_trainable(trunk: Trunk, cut: int) -> None:
    for index, layer in enumerate(trunk.model.layers):
        normalises = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = index >= cut and (trunk.weights is None or not normalises)
        if normalises and layer.trainable:
            layer.momentum = 0.9  # a few hundred steps must be enough for its running statistics


def _trainable_part(
    trunk: Trunk, cut: int, settings: HyperparameterSet, examples: Examples, seen: np.ndarray | None
) -> keras.Model:
    """The part above the cut with the local branch on top: {below, fixed} → logit (B, 1). Shares the trunk's layers."""
    size = trunk.model.input_shape[1:3]
    start = _inputs(trunk.model.layers[cut])[0]
    tuned = [output for output, below in _levels(trunk, cut) if not below]
    upper = keras.Model(start, cell_features(tuned, size), name="upper")
    inputs = {
        name: keras.Input(rows.shape, name=name, dtype=start.dtype if name == BELOW else "float32")
        for name, rows in examples.inputs.items()
    }
    cells = upper(inputs[BELOW])
    parts = [
        standardised(
            inputs[FIXED], cell_statistics(examples.inputs[FIXED], examples.folds.kept), "fixed_standardise"
        )
        if FIXED in inputs
        else None,
        standardised(cells, _first_statistics(upper, examples, trunk.weights is None), "tuned_standardise"),
    ]
    joined = keras.ops.concatenate([part for part in parts if part is not None], axis=-1)
    _, logit = judge_cells(joined, settings.hidden_units, settings.dropout, seen)
    return keras.Model(inputs, keras.ops.expand_dims(logit, -1), name="fine_tuning")


def _first_statistics(upper: keras.Model, examples: Examples, normalising: bool) -> Standardise:
    """Return mean and spread of the tuned levels' channels before the first step, over at most 128 images.

    `normalising`: with the statistics of each batch, as training from random weights sees them; its running ones mean
    nothing yet.
    """
    below, learned = examples.inputs[BELOW], examples.folds.kept
    chosen = learned[np.linspace(0, len(learned) - 1, min(len(learned), 128)).astype(int)]
    batches = [upper(below[chosen[i : i + 32]], training=normalising) for i in range(0, len(chosen), 32)]
    flat = np.concatenate(
        [keras.ops.convert_to_numpy(batch).reshape(-1, batch.shape[-1]) for batch in batches]
    )
    return Standardise.fit(flat.mean(0), flat.var(0))
