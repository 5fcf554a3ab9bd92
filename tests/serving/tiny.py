"""A bundle without training: the darker the image, the higher the score."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from defect_detection.data.framing import CELL, Framing, Tiling
from defect_detection.evaluation.operating_point import OperatingPoint
from defect_detection.model.bundle import (
    GOLDEN_FILE,
    KERAS_FILE,
    OPENVINO_FILE,
    TRAINED_ON_FILE,
    write_card,
    write_golden,
)
from defect_detection.model.card import Card, TileRule
from defect_detection.model.openvino import load_openvino

SIDE, CELLS = 32, 4
DARK, BRIGHT = np.zeros((SIDE, SIDE, 3), np.uint8), np.full((SIDE, SIDE, 3), 255, np.uint8)


def write_tiny_bundle(
    folder: Path,
    *,
    threshold: float = 0.5,
    golden_scores: tuple[float, float] = (1, 0),
    tiles: bool = False,
) -> Path:
    """Write a bundle whose score is 1 - mean / 255, and whose evidence is the same of each cell, minus 0.5. tiles: it judges tiles."""
    folder.mkdir(parents=True)
    openvino = load_openvino()
    openvino.save_model(
        _graph(SIDE // CELL if tiles else CELLS), folder / OPENVINO_FILE, compress_to_fp16=False
    )
    (folder / KERAS_FILE).write_bytes(b"nothing reads this one")
    np.save(folder / TRAINED_ON_FILE, np.zeros(1, np.uint64))
    write_golden(folder, np.stack([DARK, BRIGHT]), np.array(golden_scores, np.float32))
    assert (folder / GOLDEN_FILE).exists()
    write_card(folder, _card(threshold, tiles))
    return folder


def encoded(pixels: np.ndarray, form: str = "PNG") -> bytes:
    """Return the image as the bytes of a file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def _graph(n_cells: int):
    openvino = load_openvino()
    from openvino import opset13 as ops

    image = ops.parameter([-1, SIDE, SIDE, 3], np.uint8, name="image")
    darkness = ops.subtract(np.float32(1), ops.divide(ops.convert(image, np.float32), np.float32(255)))
    mean = ops.reduce_mean(darkness, np.array([1, 2, 3], np.int64), keep_dims=False)
    score = ops.clamp(mean, 0.0, 1.0)
    gray = ops.reduce_mean(darkness, np.array([3], np.int64), keep_dims=False)
    cells = ops.reshape(
        gray, np.array([-1, n_cells, SIDE // n_cells, n_cells, SIDE // n_cells], np.int64), special_zero=False
    )
    evidence = ops.subtract(
        ops.reduce_mean(cells, np.array([2, 4], np.int64), keep_dims=False), np.float32(0.5)
    )
    results = [ops.result(score, name="score"), ops.result(evidence, name="evidence")]
    for result, name in zip(results, ("score", "evidence"), strict=True):
        result.output(0).tensor.set_names({name})
    return openvino.Model(results, [image], "tiny")


def _card(threshold: float, tiles: bool) -> Card:
    framing = Framing(size=(SIDE, SIDE), tiles=Tiling(size=SIDE, overlap=0))
    return Card(
        framing=framing if tiles else None,
        tile_rule=TileRule(slope=1.0, bias=0.0) if tiles else None,
        name="tiny",
        created="2026-01-01T00:00:00+00:00",
        image_size=SIDE,
        operating_point=OperatingPoint(threshold=threshold, rule="fixed", escape=None, overkill=None),
        defect_types=("dark",),
        trunk="none",
        levels=(),
        weights=None,
        weights_licence="",
        trunk_fingerprint="",
        hyperparameters={},
        calibration={},
        data={},
        validation={},
        versions={},
    )
