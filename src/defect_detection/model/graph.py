"""The inspector: one graph from uint8 pixels to a calibrated score and an evidence map. Preprocessing is inside.

    image uint8 (B, H, W, 3) RGB → {"score": float32 (B,), P(defective); "evidence": float32 (B, H / 16, W / 16), log-odds}

A head that names types of defects also gives "types": float32 (B, n_types), the probability of each for a defective image.
A head with a novelty branch also gives "novelty": float32 (B,), in standard deviations of OK images. Where it is the only branch, the
score is an anomaly score, and the evidence is the novelty of each cell. Where it decides beside other branches, the evidence has the
same weights as the score.

It is made of Keras' own layers and operations only, so any Keras 3 loads it with ``safe_mode=True`` and without this package.
"""

from itertools import groupby
from pathlib import Path

import numpy as np

from defect_detection.config.kinds import NAMED_WEIGHTS
from defect_detection.data.framing import HIDDEN, Framing
from defect_detection.errors import BundleError
from defect_detection.model.backend import keras, ops
from defect_detection.model.bundle import (
    KERAS_FILE,
    TRAINED_ON_FILE,
    read_card,
    read_trunk_trained_on,
    verify,
)
from defect_detection.model.card import Card
from defect_detection.model.heads import (
    Head,
    Pooled,
    Types,
    cell_features,
    judge_cells,
    pooled_features,
    standardised,
    write_local,
)
from defect_detection.model.named_weights import COMPACT, COMPACT_WEIGHTS
from defect_detection.model.novelty import judge_novelty, write_novelty
from defect_detection.model.seen import counting, on_grid
from defect_detection.model.trunks import Trunk, build_trunk, fingerprint


def build_inspector(trunk: Trunk, head: Head, framing: Framing | None = None) -> keras.Model:
    """Join a trunk and a trained head into one model.

    Args:
        framing: what the model sees of an image. Padding and what a mask hides are constants of the model; None: all counts.
    """
    seen = framing.seen if framing else None
    inputs, maps = _without_hidden(trunk, framing)
    size = trunk.model.input_shape[1:3]
    cells = cell_features(maps, size)
    pooled = pooled_features(maps, seen) if head.pooled or head.novelty or head.types else None
    calibration, outputs = head.calibration, {}
    logit, evidence = 0.0, None
    if head.pooled:
        x = standardised(pooled, head.pooled.standardise, "pooled_standardise")
        logit += calibration.pooled * ops.squeeze(keras.layers.Dense(1, name="pooled")(x), -1)
    if head.pooled and not head.local:
        evidence = ops.squeeze(keras.layers.Dense(1, name="pooled_evidence")(counting(cells, seen)), -1)
        evidence = on_grid(evidence, seen, cells.shape[1:3])
    if head.local:
        x = standardised(cells, head.local.standardise, "local_standardise")
        evidence, local_logit = judge_cells(x, len(head.local.hidden_bias), seen=seen)
        logit += calibration.local * local_logit
    scale = calibration.local if head.local else calibration.pooled
    if head.novelty:
        cell_novelty, novelty = judge_novelty(cells, pooled, head.novelty, seen)
        outputs["novelty"] = keras.layers.Activation("linear", name="novelty")(novelty)
        if calibration.novelty:
            logit += calibration.novelty * novelty
        if evidence is None:
            evidence, scale = cell_novelty, calibration.novelty
        elif calibration.novelty:
            evidence, scale = scale * evidence + calibration.novelty * cell_novelty, 1.0
    outputs |= {"types": _name_types(pooled, head.types)} if head.types else {}
    logit += calibration.bias
    outputs |= {
        "score": keras.layers.Activation("sigmoid", name="score")(logit),
        "evidence": keras.layers.Rescaling(scale, offset=calibration.bias, name="evidence")(evidence),
    }
    model = keras.Model(inputs, outputs, name="inspector")
    if head.pooled:
        model.get_layer("pooled").set_weights(
            [head.pooled.weights[:, None], np.array([head.pooled.bias], np.float32)]
        )
        if not head.local:
            model.get_layer("pooled_evidence").set_weights(_mean_term(maps, head.pooled, size[0]))
    if head.local:
        write_local(model, head.local)
    if head.novelty:
        write_novelty(model, head.novelty)
    return model


def _without_hidden(
    trunk: Trunk, framing: Framing | None
) -> tuple[list[keras.KerasTensor], list[keras.KerasTensor]]:
    """Return the inputs and the maps of a trunk, for which all that a mask hides has one gray, whatever the image has there."""
    if framing is None or framing.shown is None or framing.tiles:
        return trunk.model.inputs, trunk.model.outputs
    image = keras.Input((*framing.size, 3), dtype="uint8", name="image")
    shown = framing.shown[np.newaxis, ..., np.newaxis].astype(np.float32)
    seen = ops.cast(image, "float32") * shown + HIDDEN * (1 - shown)  # LiteRT multiplies no uint8
    return [image], trunk.model(ops.cast(seen, "uint8"))


def _name_types(pooled: keras.KerasTensor, types: Types) -> keras.KerasTensor:
    """Return P(type) of each type, (B, n_types), of an image that is defective."""
    x = standardised(pooled, types.standardise, "types_standardise")
    linear = keras.layers.Dense(len(types.bias), name="types_linear")
    logits = linear(x)
    linear.set_weights([types.weights, types.bias])
    return keras.layers.Activation("sigmoid" if types.several else "softmax", name="types")(logits)


def _mean_term(maps: list[keras.KerasTensor], pooled: Pooled, image_size: int) -> list[np.ndarray]:
    """Return the class activation map of the pooled branch: its terms of the channel means, per cell.

    The terms of standard deviation, maximum and covariance have no exact map; they shift all cells alike, at their training mean: 0.
    """
    gain = pooled.weights / pooled.standardise.std
    weights, bias, start = [], pooled.bias, 0
    for height, levels in groupby(maps, key=lambda level: level.shape[1]):
        group = []
        for level in levels:
            channels = level.shape[-1]
            group.append(gain[start : start + channels])
            bias -= float(group[-1] @ pooled.standardise.mean[start : start + channels])
            start += 3 * channels
        weights += group
        if height >= 2 * (image_size // 16):
            weights += [np.zeros_like(one) for one in group]  # the cells' maxima
    return [np.concatenate(weights)[:, None].astype(np.float32), np.array([bias], np.float32)]


def build_features(trunk: Trunk, seen: np.ndarray | None = None) -> keras.Model:
    """The frozen part, computed once per image: image → {"pooled": (B, F), "cells": (B, h, w, C)}.

    Args:
        seen: pixels of the image that count for "pooled"; None: all.
    """
    maps = trunk.model.outputs
    cells = cell_features(maps, trunk.model.input_shape[1:3])
    outputs = {"pooled": pooled_features(maps, seen), "cells": cells}
    return keras.Model(trunk.model.inputs, outputs, name="features")


def read_trunk(folder: Path, origin: str) -> Trunk:
    """Extract the trunk from a bundle's Keras model, to continue training from it.

    Args:
        origin: what its weights are called from now on, such as "Production_Reg version 3".

    Raises:
        BundleError: the folder is incomplete, damaged or of another version.
    """
    card = read_card(folder)
    verify(folder, card, (KERAS_FILE,))
    try:
        inspector = keras.models.load_model(folder / KERAS_FILE, compile=False, safe_mode=True)
        whole = next((one for one in inspector.layers if one.name == f"{card.trunk}_trunk"), inspector)
        outputs = [whole.get_layer(level).output for level in card.levels]
    except (ValueError, TypeError, OSError) as error:
        raise BundleError(
            f"{folder / KERAS_FILE}: Keras {keras.__version__} cannot load it; train again ({error})"
        ) from error
    model = keras.Model(whole.inputs, outputs, name=f"{card.trunk}_trunk")
    mark = fingerprint(model)
    return Trunk(model, card.levels, card.trunk, origin, mark, _learned(folder, card, mark))


def _learned(folder: Path, card: Card, mark: str) -> np.ndarray:
    """Return the images that the trunk was fine-tuned on. If unknown, all training images, unless the trunk is as shipped."""
    known = read_trunk_trained_on(folder)
    if known is not None:
        return known
    as_shipped = card.weights in NAMED_WEIGHTS
    if not as_shipped and card.trunk == COMPACT:
        shipped = [build_trunk(COMPACT, weights, card.image_size, card.levels) for weights in COMPACT_WEIGHTS]
        as_shipped = mark in {trunk.fingerprint for trunk in shipped}
    return np.empty(0, np.uint64) if as_shipped else np.load(folder / TRAINED_ON_FILE, allow_pickle=False)
