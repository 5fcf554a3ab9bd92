"""The start of a retraining, and the sets that it trains."""

import json

import pytest
from plant import Plant

from defect_detection.cli import main
from defect_detection.config import load_config, load_retrain_config
from defect_detection.errors import BundleError, ConfigError
from defect_detection.model.bundle import KERAS_FILE, read_card
from defect_detection.processes.messages import Message
from defect_detection.retraining import cycle
from defect_detection.retraining.start import Start, find_start


@pytest.fixture(scope="module")
def in_production(promoted_once: Plant, tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """The plant with its model in production, for all tests of this file."""
    return promoted_once.copy(tmp_path_factory.mktemp("in-production"))


def start_of(plant: Plant, *overrides: str, lines: list[Message] | None = None, **settings: object) -> Start:
    path = plant.root / "re_train" / "re_train.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(settings))
    loaded = load_retrain_config(path)
    every = [*loaded.overrides, *overrides]
    config = load_config(loaded.config, every)
    return find_start(loaded, config, plant.registry, every, [].append if lines is None else lines.append)


def test_the_base_model_brings_its_trunk_its_size_and_its_settings(in_production):
    card = read_card(in_production.config().bundle_dir)
    start = start_of(in_production, "data.train_dir=elsewhere")
    assert (start.reference.name, start.config.data.image_size) == ("Production_Reg", card.image_size)
    assert start.config.tracking_uri == in_production.config().tracking_uri
    assert [one.model_dump(mode="json") for one in start.sets] == [card.hyperparameters]
    trunk = start.trunk()
    assert (trunk.fingerprint, trunk.levels, trunk.name) == (card.trunk_fingerprint, card.levels, card.trunk)
    assert trunk.weights == "Production_Reg version 1"


def test_the_size_of_the_base_model_wins_over_the_configuration(in_production):
    path = in_production.root / "config.yaml"
    settings = path.read_text()
    lines: list[Message] = []
    path.write_text(settings.replace("image_size: 64", "image_size: 96"))
    try:
        assert start_of(in_production, lines=lines).config.data.image_size == 64
    finally:
        path.write_text(settings)
    assert "Image size: 64 px as in the base model, instead of 96 px" in [line.text for line in lines]


def test_the_bit_depth_of_the_base_model_is_kept(in_production):
    path = in_production.root / "config.yaml"
    settings = path.read_text()
    lines: list[Message] = []
    path.write_text(settings.replace("image_size: 64", "image_size: 64, bit_depth: 12"))
    try:
        assert start_of(in_production, lines=lines).config.data.bit_depth is None
    finally:
        path.write_text(settings)
    assert "Bit depth: null as in the base model, instead of 12" in [line.text for line in lines]


def test_the_first_base_model_that_exists_is_taken(in_production):
    models = ["Nothing_Reg@prod", "Production_Reg@nothing", "Production_Reg@prod"]
    assert str(start_of(in_production, base_models=models).reference) == "Production_Reg version 1"


def test_without_a_base_model_the_configurations_sets_are_trained_from_scratch(in_production):
    lines: list[Message] = []
    start = start_of(in_production, lines=lines, base_models=["Nothing_Reg@prod"])
    assert (start.reference, start.trunk) == (None, None)
    assert [one.name for one in start.sets] == ["both", "pooled_only"]
    assert "none of Nothing_Reg@prod exists" in lines[0].text


def test_from_scratch_no_base_model_is_looked_for(in_production):
    sets = [{"name": "fresh", "epochs": 2}]
    start = start_of(in_production, start_from="scratch", hyperparameter_sets=sets)
    assert (start.reference, start.trunk) == (None, None)
    assert [(one.name, one.epochs, one.batch_size) for one in start.sets] == [("fresh", 2, 16)]


@pytest.mark.parametrize("how", ["override", "set"])
def test_an_override_wins_over_the_base_models_own_setting(in_production, how):
    if how == "set":
        (settings,) = start_of(in_production, set={"training.epochs": 1}).sets
    else:
        (settings,) = start_of(in_production, "training.epochs=1").sets
    assert (settings.epochs, settings.batch_size) == (1, 16)


@pytest.mark.parametrize(
    ("overrides", "settings", "words"),
    [
        (["data.image_size=96"], {}, "data.image_size: expected 64"),
        (["data.bit_depth=12"], {}, "data.bit_depth: expected null"),
        (["training.hyperparameter_sets.0.epochs=1"], {}, "not used when a retraining starts from a base"),
        (
            [],
            {"hyperparameter_sets": [{"name": "a", "trunk": "MobileNetV2"}]},
            "a: trunk: expected 'compact'",
        ),
        ([], {"hyperparameter_sets": [{"name": "a", "levels": ["level1"]}]}, "a: levels: expected"),
        ([], {"hyperparameter_sets": [{"name": "a", "weights": None}]}, "a: weights: expected 'distilled'"),
    ],
)
def test_what_contradicts_the_base_model_is_refused(in_production, overrides, settings, words):
    with pytest.raises(ConfigError, match=words):
        start_of(in_production, *overrides, **settings)


def test_a_damaged_base_model_is_an_error(promoted):
    plant = promoted
    bundle = plant.registry.bundle_of(plant.in_production(), plant.config().cache_dir)
    with (bundle / KERAS_FILE).open("r+b") as file:
        file.write(b"damaged")
    with pytest.raises(BundleError, match="was registered: expected"):
        start_of(plant)


def test_where_it_starts_can_be_chosen_for_one_retraining(tmp_path, monkeypatch):
    monkeypatch.setattr(cycle, "_retrain", lambda settings, *_: settings.start_from)
    file = tmp_path / "re_train/re_train.yaml"
    file.parent.mkdir()
    file.write_text("start_from: registry\n")
    (tmp_path / "config.yaml").write_text("{}\n")
    assert cycle.retrain(file) == "registry"
    assert cycle.retrain(file, start_from="scratch") == "scratch"
    assert main(["retrain", "--settings", str(file), "--start-from", "nowhere"]) == 3
