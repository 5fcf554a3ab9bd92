"""Products: folders of settings below the plant's own, and what they share."""

from pathlib import Path
from typing import get_args

import pytest
from done_once import compiled_once, drawn_once  # noqa: F401  fixtures
from plant import Plant

from defect_detection.cli import main
from defect_detection.config import Config, load_config
from defect_detection.config.products import _READ, _WRITTEN
from defect_detection.config.yaml_file import section_in
from defect_detection.errors import ConfigError
from defect_detection.use_cases.backup import back_up
from defect_detection.use_cases.evaluate import evaluate
from defect_detection.use_cases.products import (
    archive_product,
    copy_product,
    create_product,
    list_products,
)


@pytest.fixture
def factory(tmp_path: Path) -> Path:
    """A plant with the product bolt."""
    (tmp_path / "config.yaml").write_text("seed: 7\nserving: {port: 5099}\nrecords: {images_dir: kept}\n")
    folder = tmp_path / "products/bolt"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("evaluation_threshold: 0.9\n")
    return tmp_path


def load(root: Path, product: str | None = None, *overrides: str):
    return load_config(root / "config.yaml", overrides, product)


def refusal(root: Path, product: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(root, product, *overrides)
    return str(caught.value)


def test_a_product_has_its_own_folder_and_names_and_shares_database_store_and_server(factory):
    plant, bolt = load(factory), load(factory, "bolt")
    assert (bolt.product, bolt.plant, bolt.root) == ("bolt", factory, factory / "products/bolt")
    assert (bolt.seed, bolt.evaluation_threshold) == (42, 0.9)
    assert bolt.data.train_dir == factory / "products/bolt/data/train"
    assert (bolt.serving.port, bolt.records.images_dir) == (5099, factory / "kept")
    assert (bolt.tracking_uri, bolt.database_url) == (plant.tracking_uri, plant.database_url)
    assert bolt.inference_model_name == bolt.mlflow.production_model_name == "Production_Reg.bolt"
    assert (bolt.mlflow.testing_model_name, bolt.named("promotions")) == (
        "Testing_Reg.bolt",
        "promotions.bolt",
    )


def test_the_default_product_is_what_the_project_was_before(factory):
    for config in (load(factory), load(factory, "default")):
        assert (config.product, config.root, config.plant, config.seed) == ("default", factory, factory, 7)
        assert config.mlflow.production_model_name == config.inference_model_name == "Production_Reg"
        assert config.named("promotions") == "promotions"


def test_the_file_of_a_product_names_the_product(factory):
    assert load_config(factory / "products/bolt/config.yaml").product == "bolt"
    (factory / "config.yaml").unlink()
    assert load_config(factory / "products/bolt/config.yaml").product == "default"


def test_a_process_of_a_server_has_the_settings_of_its_product(factory, monkeypatch):
    for name, value in load(factory, "bolt", "serving.threads=3", "seed=1").for_children.items():
        monkeypatch.setenv(name, value)
    config = load_config(factory / "elsewhere.yaml")
    assert (config.product, config.seed, config.serving.threads) == ("bolt", 1, 3)


@pytest.mark.parametrize("name", ["../x", "", ".", "a/b", "a.b", "-a", "bolt\n", "ö", "x" * 65])
def test_a_name_with_other_characters_is_refused(factory, name):
    assert "expected a name of at most 64 letters" in refusal(factory, name)
    with pytest.raises(ConfigError, match="expected a name of at most 64 letters"):
        create_product(load(factory), name)


def test_an_unknown_product_is_refused_with_the_names_of_the_others(factory):
    assert "unknown product 'blot', did you mean 'bolt'? `defect" in refusal(factory, "blot")
    assert ". `defect products create quite-another` creates it" in refusal(factory, "quite-another")
    assert "expected one of: default, bolt" in refusal(factory, "zzzz")


def test_a_product_cannot_set_what_all_share(factory):
    (factory / "products/bolt/config.yaml").write_text("serving: {port: 1234}\n")
    assert "products/bolt/config.yaml: serving: applies to all products" in refusal(factory, "bolt")


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ("data.train_dir=../../other", False),
        ("inference_images=[data/test, ../../x]", False),
        ("cache_dir=/tmp/cache", False),
        ("bundle_dir=../nut/temp_best_model", False),
        ("data.train_dir=/mnt/images/train", True),
        ("cache_dir=more/cache", True),
    ],
)
def test_paths_of_a_product_stay_in_its_folder(factory, setting, allowed):
    if allowed:
        assert load(factory, "bolt", setting)
        return
    key = setting.partition("=")[0]
    assert f"products/bolt/config.yaml: {key}: expected" in refusal(factory, "bolt", setting)


def test_every_setting_that_is_a_path_has_its_rule():
    def paths(model, above: str = "") -> set[str]:
        found = set()
        for name, field in model.model_fields.items():
            if Path in (field.annotation, *get_args(field.annotation)):
                found.add(f"{above}{name}")
            if section_in(field.annotation) is field.annotation:
                found |= paths(field.annotation, f"{above}{name}.")
        return found

    assert paths(Config) - {"records.images_dir"} == {*_READ, *_WRITTEN} - {"inference_images"}


def test_a_link_is_no_product(factory, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "config.yaml").write_text("")
    (factory / "products/nut").symlink_to(elsewhere)
    assert "expected a folder, received a link" in refusal(factory, "nut")


def test_a_product_is_created_whole_and_no_name_is_taken_twice(factory):
    folder = create_product(load(factory), "nut")
    assert (folder / "data/train").is_dir()
    assert (folder / "re_train/re_train.yaml").is_file()
    for taken in ("nut", "NUT", "default"):
        with pytest.raises(ConfigError, match="expected a new name"):
            create_product(load(factory), taken)
    assert sorted(path.name for path in (factory / "products").iterdir()) == ["bolt", "nut"]


def test_a_copy_has_the_settings_without_what_all_share(factory):
    copy_product(load(factory), "default", "nut")
    copy_product(load(factory), "bolt", "pin")
    assert (load(factory, "nut").seed, load(factory, "nut").serving.port) == (7, 5099)
    assert load(factory, "pin").evaluation_threshold == 0.9


def test_an_archived_product_is_not_used_until_it_is_brought_back(factory):
    archive_product(load(factory), "bolt")
    assert "product 'bolt' is archived" in refusal(factory, "bolt")
    assert [(one.name, one.state) for one in list_products(load(factory))] == [
        ("default", "active"),
        ("bolt", "archived"),
    ]
    archive_product(load(factory), "bolt", undo=True)
    assert load(factory, "bolt").evaluation_threshold == 0.9
    with pytest.raises(ConfigError, match="not archived"):
        archive_product(load(factory), "bolt", undo=True)


def test_a_product_with_wrong_settings_is_listed_with_the_reason(factory, capsys):
    (factory / "products/bolt/config.yaml").write_text("sed: 1\n")
    assert main(["products", "list", "--config", str(factory / "config.yaml")]) == 0
    assert "products/bolt/config.yaml: sed: unknown key, did you mean 'seed'?" in capsys.readouterr().out


def test_a_backup_has_the_settings_of_all_products_and_no_images(factory, tmp_path_factory):
    create_product(load(factory), "nut")
    (factory / "products/nut/data/train/ok.png").write_bytes(b"image")
    (factory / "inspections.db").touch()
    copy = tmp_path_factory.mktemp("copy") / "backup"
    back_up(load(factory), copy)
    kept = {path.relative_to(copy).as_posix() for path in copy.rglob("products/*/*") if path.is_file()}
    assert kept == {"products/bolt/config.yaml", "products/nut/config.yaml"}
    assert not list(copy.rglob("ok.png"))


def test_each_product_promotes_its_own_model(promoted_once, trained_once, tmp_path):
    promoted_once.copy(tmp_path)
    bolt = trained_once.copy(tmp_path / "products/bolt")
    assert bolt.config().product == "bolt"
    bolt.make()
    assert evaluate(bolt.config()).decision.outcome == "promote"
    plant = Plant(tmp_path)
    names = {one.name: one.in_production for one in list_products(plant.config())}
    assert names == {"default": 1, "bolt": 1}
    assert bolt.registry.version_of("Production_Reg.bolt", "prod").run_id != plant.in_production().run_id
    command = ["--config", str(tmp_path / "config.yaml"), "--product", "bolt"]
    assert main(["history", *command]) == 0
    assert main(["selfcheck", *command]) == 0
