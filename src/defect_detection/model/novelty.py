"""The novelty branch: how unlike the OK training images an image is, as plain arrays, and the Keras graph made of them.

    cells ─ standardise, clip ─ axes ─┬─ distance to the nearest cell of a bank ───┐
                                      └─ distance from what is usual at its place ─┼─ logarithm, scale, weight ─▶ novelty, map
    maps ─ pooled ─ standardise, clip ─ what the strongest axes leave over ────────┘

No defective image is needed to fit it. No distance is the best everywhere, so the data weighs them (docs/decisions/0035-novelty.md).
"""

from collections.abc import Mapping

import numpy as np

from defect_detection.model.backend import keras, ops
from defect_detection.model.heads import Novelty, standardised
from defect_detection.model.seen import counting, on_grid

HIGHEST = 4  # cells of an image whose mean distance counts
LEAST = 1.0  # a smaller distance counts as this one: images that are alike differ by rounding, each runtime by its own


def judge_novelty(
    cells: keras.KerasTensor, pooled: keras.KerasTensor, novelty: Novelty, seen: np.ndarray | None = None
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return the novelty of each cell, (B, h, w), and of the image, (B,), in standard deviations of held-out OK images.

    Args:
        cells: (B, h, w, C), as the trunk gives them. pooled: (B, F), likewise; the statistics of the maps come first.
        seen: pixels of the image that count; None: all. Other cells get the lowest novelty, and do not count for the image's.
    """
    grid, cells = cells.shape[1:3], counting(cells, seen)
    _, height, width, channels = cells.shape
    x = standardised(cells, novelty.standardise, "novelty_standardise")
    x = ops.reshape(x, (-1, height * width, channels))
    x = keras.layers.Dense(novelty.axes.shape[1], use_bias=False, name="novelty_axes")(x)  # (B, places, k)
    cell = {"bank": _from_bank(x, novelty), "place": _from_usual(x, novelty)}
    count = min(HIGHEST, height * width)
    image = {name: ops.mean(ops.top_k(each, count)[0], axis=-1) for name, each in cell.items()}
    image["pooled"] = _rest(pooled, novelty)
    each = ops.reshape(_together(cell, novelty), (-1, height, width))
    return on_grid(each, seen, grid), _together(image, novelty)


def _from_bank(x: keras.KerasTensor, novelty: Novelty) -> keras.KerasTensor:
    """Return how far each cell is from the nearest one of the bank: (B, places, k) → (B, places)."""
    to_each = keras.layers.Dense(len(novelty.bank), name="novelty_bank")(x)  # without the cell's own square
    return _length(ops.sum(ops.square(x), axis=-1) + ops.min(to_each, axis=-1))


def _from_usual(x: keras.KerasTensor, novelty: Novelty) -> keras.KerasTensor:
    """Return how far each cell is from what is usual at its place: (B, places, k) → (B, places)."""
    shape = novelty.place_offset.shape
    layer = keras.layers.EinsumDense("bpk,pkl->bpl", shape, bias_axes="pl", name="novelty_place")
    return _length(ops.sum(ops.square(layer(x[..., : shape[1]])), axis=-1))


def _rest(pooled: keras.KerasTensor, novelty: Novelty) -> keras.KerasTensor:
    """Return the length of what the strongest axes leave over of the pooled features, (B, F) → (B,)."""
    n_features, n_axes = novelty.pooled_axes.shape
    x = standardised(pooled[:, :n_features], novelty.pooled_standardise, "novelty_pooled_standardise")
    kept = keras.layers.Dense(n_axes, use_bias=False, name="novelty_pooled")(x)
    return _length(ops.sum(ops.square(x), axis=-1) - ops.sum(ops.square(kept), axis=-1))


def _length(squared: keras.KerasTensor) -> keras.KerasTensor:
    return ops.sqrt(ops.relu(squared) + 1e-6)


def _together(distances: Mapping[str, keras.KerasTensor], novelty: Novelty) -> keras.KerasTensor:
    """Join distances as `Novelty` does with arrays."""
    scales = novelty.scales
    scaled = [
        (ops.log(ops.maximum(each, LEAST)) - scales[name].mean) * (scales[name].weight / scales[name].spread)
        for name, each in distances.items()
    ]
    return (ops.logsumexp(ops.stack(scaled, axis=-1), axis=-1) - novelty.mean) * (1 / novelty.spread)


def write_novelty(model: keras.Model, novelty: Novelty) -> None:
    """Put weights into the layers of `judge_novelty`."""
    model.get_layer("novelty_axes").set_weights([novelty.axes])
    squares = (novelty.bank**2).sum(1)
    model.get_layer("novelty_bank").set_weights([-2 * novelty.bank.T, squares])
    model.get_layer("novelty_place").set_weights([novelty.place_axes, novelty.place_offset])
    model.get_layer("novelty_pooled").set_weights([novelty.pooled_axes])
