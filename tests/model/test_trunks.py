"""Trunks: their outputs, invalid arguments, and the fingerprint used by the cache."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from defect_detection.errors import ConfigError
from defect_detection.model.graph import build_features
from defect_detection.model.trunks import (
    COMPACT_LEVELS,
    _preprocessed,
    build_trunk,
    fingerprint,
    load_npz,
    save_npz,
)


def noise(size: int, n_images: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n_images, size, size, 3), np.uint8)


@pytest.mark.parametrize("size", [32, 112])
def test_compact_gives_narrow_and_wide_levels_at_any_size(size):
    trunk = build_trunk("compact", "procedural", size)
    maps = [np.asarray(one) for one in trunk.model([noise(size)])]
    assert trunk.levels == COMPACT_LEVELS
    assert [one.shape for one in maps] == [
        (2, size // 4, size // 4, 48),
        (2, size // 8, size // 8, 192),
        (2, size // 8, size // 8, 96),
        (2, size // 16, size // 16, 576),
        (2, size // 16, size // 16, 192),
    ]
    assert all(one.dtype == np.float32 and np.isfinite(one).all() and one.std() > 0 for one in maps)


def test_levels_can_be_chosen():
    trunk = build_trunk("compact", None, 32, levels=("level1", "level3_a_relu"))
    assert [output.shape for output in trunk.model.outputs] == [(None, 8, 8, 48), (None, 2, 2, 192)]


def test_levels_of_other_trunks_are_maps_at_three_resolutions():
    trunk = build_trunk("EfficientNetB0", None, 96)  # has squeezed 1 x 1 weights and padded maps between
    assert [output.shape[1] for output in trunk.model.outputs] == [12, 6, 3]


def test_mobilenet_is_built_from_random_weights_and_its_fingerprint_survives_saving(tmp_path):
    trunk = build_trunk("MobileNetV2", None, 64)
    assert [output.shape[1] for output in trunk.model.outputs] == [8, 4, 4, 2]
    assert trunk.levels[-1] == "out_relu"
    assert trunk.weights is None
    block = keras.Model(
        trunk.model.inputs, trunk.model.get_layer("block_2_add").output
    )  # has each kind of layer
    features = build_features(replace(trunk, model=block, levels=("block_2_add",)))
    features.save(tmp_path / "features.keras")
    assert fingerprint(keras.models.load_model(tmp_path / "features.keras")) == fingerprint(features)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("MobileNetV2", keras.applications.mobilenet_v2),
        ("DenseNet121", keras.applications.densenet),
        ("ResNet50", keras.applications.resnet),
        ("ResNet50V2", keras.applications.resnet_v2),
        ("EfficientNetB0", keras.applications.efficientnet),
        ("ConvNeXtTiny", keras.applications.convnext),
    ],
)
def test_preprocessing_is_that_of_keras_applications(name, reference):
    image = keras.Input((32, 32, 3), dtype="uint8")
    ours = keras.Model(image, _preprocessed(image, name)).predict(noise(32), verbose=0)
    np.testing.assert_allclose(ours, reference.preprocess_input(noise(32).astype(np.float32)), atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("Compact", None), "trunk: expected 'compact', 'EfficientNetLite0' or a model of keras"),
        (("layers", None), "trunk: expected 'compact', 'EfficientNetLite0' or a model of keras"),
        (("MobileNetV2", "procedural"), "'procedural' works with trunk 'compact' only"),
        (
            ("EfficientNetLite0", "imagenet"),
            "'imagenet' works with .*; for EfficientNetLite0 use 'package', a",
        ),
        (
            ("MobileNetV2", "package"),
            "'package' works with trunk 'EfficientNetLite0' only; for MobileNetV2 use 'imagenet', a",
        ),
        (("compact", "imagenet"), "'imagenet' works with trunks of keras.applications"),
        (("compact", "missing.npz"), "existing weights file, received 'missing.npz'"),
        (
            ("compact", None, ("level4",)),
            "levels: trunk compact has no layer 'level4'; .* level1, level2_wide_relu, level2, level3_wide_relu, level3",
        ),
    ],
)
def test_what_does_not_exist_is_refused(arguments, words):
    name, weights, *levels = arguments
    with pytest.raises(ConfigError, match=words):
        build_trunk(name, weights, 32, *levels)


def test_weights_of_another_trunk_are_refused(tmp_path):
    save_npz(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), tmp_path / "other.npz")
    with pytest.raises(ConfigError, match=r"other\.npz does not contain the weights of compact"):
        build_trunk("compact", tmp_path / "other.npz", 32)


def test_weights_come_back_from_their_file_also_from_that_of_an_earlier_version(tmp_path):
    """Earlier versions stored plain numbers."""
    one = build_trunk("compact", None, 32, seed=1)
    save_npz(one.model, tmp_path / "weights.npz")
    plain = {
        weight.path: keras.ops.convert_to_numpy(weight.value).astype(np.float16)
        for weight in one.model.weights
    }
    np.savez(tmp_path / "plain.npz", **plain)
    load_npz(one.model, tmp_path / "plain.npz")  # now rounded to what the files hold
    again = build_trunk("compact", tmp_path / "weights.npz", 32)
    np.testing.assert_array_equal(one.model([noise(32)])[2], again.model([noise(32)])[2])
    assert again.fingerprint == fingerprint(one.model)
    assert fingerprint(build_features(again)) == fingerprint(build_features(one))


def test_the_fingerprint_is_the_same_for_the_same_trunk_and_changes_with_all_that_changes_the_maps():
    plain = {"name": "compact", "weights": None, "image_size": 32}
    changes = [
        {},
        {"seed": 0},
        {"seed": 1},
        {"weights": "procedural"},
        {"weights": "distilled"},
        {"image_size": 48},
    ]
    trunk, same, *others = (build_trunk(**{**plain, **one}) for one in changes)
    assert trunk.fingerprint == same.fingerprint
    levels = [
        ("level1", "level2", "level3"),
        ("level1_add", "level2", "level3"),  # of the same shape
        ("level3", "level2", "level1"),
    ]
    found = [one.fingerprint for one in (trunk, *others)]
    for some in levels:
        maps = [trunk.model.get_layer(level).output for level in some]
        found.append(fingerprint(keras.Model(trunk.model.inputs, maps)))
    assert len(set(found)) == len(found) == 8
