"""Flips and rotations are the same each time, and cached once."""

import numpy as np
from plant import LEVELS

from defect_detection.data.split import load_splits
from defect_detection.model.graph import build_features
from defect_detection.model.trunks import build_trunk
from defect_detection.training import frozen
from defect_detection.training.features import activations
from defect_detection.training.flips import turned, turned_key

RAMP = np.arange(16 * 16, dtype=np.uint8).reshape(1, 16, 16, 1)


def test_each_turn_is_cached_by_a_key_of_its_own():
    assert turned_key("a", 0) == "a"
    assert len({turned_key("a", turn) for turn in range(8)}) == 8


def test_eight_turns_are_eight_different_pictures():
    pictures = {turned(RAMP, turn).tobytes() for turn in range(8)}
    assert len(pictures) == 8 and RAMP.tobytes() in pictures


def test_turns_are_computed_once_and_only_for_new_images(trained_once, tmp_path, monkeypatch):
    config, computed = trained_once.config(), []
    splits = load_splits(config)
    model = build_features(build_trunk("compact", "procedural", config.data.image_size, LEVELS))
    keys = [sample.sha256 for sample in splits.samples][:5]
    run = frozen.run
    monkeypatch.setattr(
        frozen, "run", lambda runtime, images, names: computed.append(len(images)) or run(runtime, images, names)
    )  # fmt: skip
    for wanted in (keys[:4], keys[:4], keys):
        for turn in (1, 5):
            rows = activations(model, wanted, splits.pixels, tmp_path, only=["pooled"], turn=turn)
    assert computed == [4, 4, 1, 1]
    plain = activations(model, keys, splits.pixels, tmp_path, only=["pooled"])
    difference = np.abs(rows["pooled"][:] - plain["pooled"][:]).max(1)
    assert (difference > 0).all()
