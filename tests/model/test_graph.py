"""The Keras file of a bundle loads without this package, and its trunk can be extracted."""

import sys
import zipfile

import keras
import numpy as np
import pytest
from plant import LEVELS

from defect_detection.errors import BundleError
from defect_detection.model.bundle import CARD_FILE, KERAS_FILE, read_card, read_golden, write_card
from defect_detection.model.graph import read_trunk


def test_the_model_loads_in_safe_mode_without_this_package(trained_once, monkeypatch):
    folder = trained_once.config().bundle_dir
    images, scores = read_golden(folder)
    for name in [name for name in sys.modules if name.partition(".")[0] == "defect_detection"]:
        monkeypatch.setitem(sys.modules, name, None)  # importing it is an error now
    registered = keras.saving.get_custom_objects().values()
    assert not [one for one in registered if one.__module__.startswith("defect_detection")]
    model = keras.models.load_model(folder / KERAS_FILE, safe_mode=True)
    assert model.inputs[0].dtype == "uint8"
    shapes = sorted((value.shape for value in model.output.values()), key=len)
    assert shapes == [(None,), (None,), (None, 4, 4)]
    np.testing.assert_allclose(model([images])["score"], scores, atol=1e-5)


def test_the_model_file_holds_no_code(trained_once):
    with zipfile.ZipFile(trained_once.config().bundle_dir / KERAS_FILE) as archive:
        config = archive.read("config.json").decode()
    assert "Lambda" not in config
    assert "defect_detection" not in config


def test_a_bundle_gives_the_trunk_back(trained_once):
    folder = trained_once.config().bundle_dir
    card, trunk = read_card(folder), read_trunk(folder, "Production_Reg version 7")
    assert trunk.fingerprint == card.trunk_fingerprint
    assert (trunk.name, trunk.levels, trunk.weights) == (
        "compact",
        LEVELS,
        "Production_Reg version 7",
    )
    images, _ = read_golden(folder)
    assert [maps.shape[1:] for maps in trunk.model([images])] == [
        (32, 32, 24),
        (16, 16, 48),
    ]


def test_a_damaged_file_is_not_loaded(plant):
    folder = plant.config().bundle_dir
    with (folder / KERAS_FILE).open("r+b") as file:
        file.write(b"damaged")
    with pytest.raises(BundleError, match="checksum"):
        read_trunk(folder, "")


def test_a_file_that_keras_cannot_load_is_an_error_of_ours(plant):
    folder = plant.config().bundle_dir
    card = read_card(folder)
    (folder / KERAS_FILE).write_bytes(b"not a model")
    (folder / CARD_FILE).unlink()
    write_card(folder, card)
    with pytest.raises(BundleError, match="cannot load it; train again"):
        read_trunk(folder, "")
