"""Activations use a bounded share of memory for any image size."""

import numpy as np
from plant import LEVELS

from defect_detection.data.split import load_splits
from defect_detection.model.graph import build_features
from defect_detection.model.trunks import build_trunk
from defect_detection.training import frozen, local_branch
from defect_detection.training.features import Rows, activations
from defect_detection.training.frozen import rows_at_a_time


def test_fewer_rows_at_a_time_where_they_are_larger():
    assert rows_at_a_time((14, 14, 960), (3184,)) == 256
    large = rows_at_a_time((64, 64, 960), (3184,))
    assert 1 < large < 32 and large * 4 * 64 * 64 * 960 <= frozen.CHUNK_BYTES
    assert rows_at_a_time((1000, 1000, 1000)) == 1


def test_row_by_row_gives_the_same_and_only_what_is_asked_for(trained_once, tmp_path, monkeypatch):
    config = trained_once.config()
    splits = load_splits(config)
    model = build_features(build_trunk("compact", "procedural", config.data.image_size, LEVELS))
    keys = [sample.sha256 for sample in splits.samples][:5]
    together = activations(model, keys, splits.pixels, tmp_path / "a")
    monkeypatch.setattr(frozen, "CHUNK_BYTES", 1)
    alone = activations(model, keys, splits.pixels, tmp_path / "b", only=["cells"])
    assert set(together) == {"pooled", "cells"} and set(alone) == {"cells"}
    np.testing.assert_array_equal(alone["cells"][np.arange(5)], together["cells"][np.arange(5)])


def test_statistics_see_every_cell_of_small_images_and_some_of_large_ones(monkeypatch):
    values = np.random.default_rng(0).normal(size=(6, 4, 4, 3)).astype(np.float16)
    rows = Rows(values, np.arange(6))
    np.testing.assert_array_equal(
        local_branch._sample(rows, np.arange(6)), values.reshape(-1, 3).astype(np.float32)
    )
    monkeypatch.setattr(local_branch, "_STATISTICS_CELLS", 50)
    some = local_branch._sample(rows, np.arange(6))
    assert some.shape == (48, 3)
    np.testing.assert_array_equal(some[:8], values[0].reshape(-1, 3)[::2].astype(np.float32))
