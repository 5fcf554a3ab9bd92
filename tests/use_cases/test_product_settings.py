"""The settings of a product in a form: what it shows, what it writes, and what it refuses."""

import errno
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from defect_detection.config import Config, load_config
from defect_detection.config.yaml_file import section_in
from defect_detection.errors import ConfigError
from defect_detection.use_cases.products import create_product
from defect_detection.use_cases.settings import (
    EnteredChange,
    SettingsChangedError,
    change_settings,
    read_form,
)

SHIPPED = Path(__file__).parents[2] / "config.yaml"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(SHIPPED.read_text())
    return tmp_path


def change(config: Config, entered: dict[str, object], digest: str = "") -> list[str]:
    shown = values(config)
    changes = {key: EnteredChange(shown.get(key), value) for key, value in entered.items()}  # type: ignore[arg-type]
    return change_settings(config, digest or read_form(config).digest, changes, "anna")


def values(config: Config) -> dict[str, object]:
    return {key.key: key.value for part in read_form(config).parts for key in part.keys}


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if section_in(field.annotation) is field.annotation:
            yield from leaves(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_the_form_has_every_key_but_secrets_and_shows_the_shipped_file_as_the_defaults(project):
    parts = read_form(load_config(project / "config.yaml")).parts
    keys = [key for part in parts for key in part.keys]
    assert sorted(key.key for key in keys) == sorted(set(leaves(Config)) - {"serving.api_key"})
    assert [key.key for key in keys if key.help == ""] == []
    different = [key.key for key in keys if key.kind != "yaml" and key.value != key.default]
    assert different == []


def test_only_the_changed_values_are_written_and_each_is_in_the_trail(project):
    config = load_config(project / "config.yaml")
    sets = "- name: small\n  # for a quick trial\n  epochs: 2\n- name: large"
    entered = {
        "training.epochs": "20",
        "data.group_pattern": r"_part(\d+): #",
        "evaluation.review": "{max_escape_rate: 0.01, max_overkill_rate: 0.02}",
        "evaluation.operating_point.costs": "escape: 10\noverkill: 1",
        "evaluation.gate.promote_at_once": False,
        "training.hyperparameter_sets": sets,
        "records.keep_days": "",
        "seed": "42",
    }
    (project / "config.yaml").chmod(0o640)
    assert change(config, entered) == [key for key in entered if key != "seed"]
    text = (project / "config.yaml").read_text()
    new = load_config(project / "config.yaml")
    assert (new.training.epochs, new.data.group_pattern) == (20, r"_part(\d+): #")
    assert (new.records.keep_days, new.evaluation.operating_point.costs.escape) == (None, 10)
    assert [one.name for one in new.training.hyperparameter_sets] == ["small", "large"]
    assert values(new)["training.hyperparameter_sets"] == sets
    kept = {line.split("#")[1] for line in SHIPPED.read_text().splitlines() if "#" in line}
    assert kept <= {line.split("#", 1)[1].split("#")[0] for line in text.splitlines() if "#" in line}
    assert (project / "config.yaml").stat().st_mode & 0o777 == 0o640
    lines = [json.loads(line) for line in (project / "trail.jsonl").read_text().splitlines()]
    assert len(lines) == len(entered) - 1
    assert (lines[0]["who"], lines[0]["on"]) == ("anna", "default: training.epochs")
    assert lines[0]["outcome"] == "14 → 20"


def test_the_trail_says_that_a_file_could_not_be_replaced(project, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    config = load_config(project / "config.yaml")
    with monkeypatch.context() as mounted:  # as a container mounts one file
        mounted.setattr(Path, "replace", refuse)
        with pytest.raises(ConfigError, match="nothing was changed"):
            change(config, {"training.epochs": "20"})
    lines = [json.loads(line) for line in (project / "trail.jsonl").read_text().splitlines()]
    assert [line["what"] for line in lines] == ["setting changed", "setting not changed"]
    assert (project / "config.yaml").read_text() == SHIPPED.read_text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing yet\n",
        "{}",
        "training: {hyperparameter_sets: [{name: only}]}\n",
        "training:\n",
        "training:\n  epochs: 3  # few\n  # end of the section",
        "training:\r\n  epochs: 3\r\n\r\nseed: 1\r\n",
        "evaluation: {gate: {}}\nseed: 3",
        "\ufefftraining:\n    patience: 2\n",
    ],
)
def test_a_key_is_found_or_added_however_the_file_is_written(project, text):
    (project / "config.yaml").write_bytes(text.encode())
    config = load_config(project / "config.yaml")
    change(config, {"training.epochs": "9", "evaluation.gate.margin": "0.1", "seed": "5"})
    new = load_config(project / "config.yaml")
    assert (new.training.epochs, new.evaluation.gate.margin, new.seed) == (9, 0.1, 5)
    written = (project / "config.yaml").read_bytes().decode()
    assert [
        comment
        for comment in ("# nothing yet", "# few", "# end")
        if comment in text and comment not in written
    ] == []


def test_wrong_values_are_named_at_their_keys_and_nothing_is_written(project):
    config = load_config(project / "config.yaml")
    before = (project / "config.yaml").read_bytes()
    for entered, key, said in (
        ({"training.epochs": "ten", "seed": "1"}, "training.epochs", "received 'ten'"),
        ({"training.epochs": ""}, "training.epochs", "a whole number above 0"),
        ({"data.image_size": "[32"}, "data.image_size", "not valid YAML: line 1"),
        (
            {"training.hyperparameter_sets": "- {name: A b}"},
            "training.hyperparameter_sets.0.name",
            "lower-case",
        ),
        (
            {"training.hyperparameter_sets": "!!python/object:os.system x"},
            "training.hyperparameter_sets",
            "YAML",
        ),
        ({"data.group_pattern": "(\0)"}, "data.group_pattern", "zero bytes"),
        ({"report_dir": "\ud800"}, "report_dir", "not valid YAML"),
        ({"training.epoch": "1"}, "training.epoch", "did you mean 'training.epochs'"),
        ({"serving.api_key": "a key of sixteen characters"}, "serving.api_key", "unknown key"),
        (
            {
                "evaluation.operating_point.threshold": "0.5",
                "evaluation.operating_point.max_escape_rate": "0.1",
            },
            "evaluation.operating_point",
            "received max_escape_rate and threshold; keep one of them",
        ),
    ):
        with pytest.raises(ConfigError) as refused:
            change(config, entered)
        assert said in refused.value.by_key[key]
        assert f"config.yaml: {key}: " in str(refused.value)
    assert (project / "config.yaml").read_bytes() == before
    assert not (project / "trail.jsonl").exists()


def test_a_value_that_an_alias_repeats_is_left_to_the_hand(project):
    text = "evaluation:\n  gate: {margin: &m 0.1, level: *m}\n"
    (project / "config.yaml").write_text(text)
    config = load_config(project / "config.yaml")
    with pytest.raises(ConfigError, match=r"evaluation\.gate\.level: the file has no place"):
        change(config, {"evaluation.gate.level": "0.2"})
    assert (project / "config.yaml").read_text() == text


def test_a_file_that_cannot_be_replaced_and_a_link_stay_what_they_are(project, monkeypatch):
    (project / "elsewhere.yaml").write_text("seed: 1\n")
    (project / "config.yaml").unlink()
    (project / "config.yaml").symlink_to("elsewhere.yaml")
    config = load_config(project / "config.yaml")
    change(config, {"seed": "2"})
    assert (project / "config.yaml").is_symlink()
    assert (project / "elsewhere.yaml").read_text() == "seed: 2\n"

    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(
        ConfigError, match=r"cannot be changed \(No space left on device\); nothing was changed"
    ):
        change(config, {"seed": "3"})
    assert (project / "elsewhere.yaml").read_text() == "seed: 2\n"
    assert [path.name for path in project.iterdir() if path.name.startswith(".unfinished")] == []


def test_of_two_forms_the_second_is_told_what_the_first_changed(project):
    config = load_config(project / "config.yaml")
    digest = read_form(config).digest
    entered = {"training.epochs": EnteredChange("14", "20")}
    assert change_settings(config, digest, entered, "anna") == ["training.epochs"]
    for changes, told in (
        (entered, r"training\.epochs is 20 now"),
        ({"seed": EnteredChange("42", "1")}, "other settings than these were changed"),
    ):
        with pytest.raises(SettingsChangedError, match=told):
            change_settings(config, digest, changes, "ben")
    assert yaml.safe_load((project / "config.yaml").read_text())["seed"] == 42


def test_a_secret_is_shown_nowhere(project):
    secret = "a key of sixteen characters"
    (project / "config.yaml").write_text(
        f"serving: {{api_key: {secret}}}\nscaling: {{address: 'ray://anna:pw@h:1'}}\n"
    )
    config = load_config(project / "config.yaml")
    assert secret not in str(read_form(config))
    change(config, {"scaling.address": "ray://anna:other@h:1"})
    assert "pw@" not in (project / "trail.jsonl").read_text()


def test_a_product_has_its_own_settings_only_and_stays_in_its_folder(project):
    plant = load_config(project / "config.yaml")
    create_product(plant, "bolt")
    config = load_config(project / "config.yaml", product="bolt")
    assert {key.split(".")[0] for key in values(config)}.isdisjoint({"serving", "records", "jobs"})
    with pytest.raises(ConfigError) as refused:
        change(config, {"report_dir": "../../reports", "jobs.retrain_after_labels": "5"})
    assert list(refused.value.by_key) == ["jobs.retrain_after_labels"]
    with pytest.raises(ConfigError) as refused:
        change(config, {"report_dir": "../../reports"})
    assert "a path in the folder of the product" in refused.value.by_key["report_dir"]
    assert change(config, {"training.epochs": "3"}) == ["training.epochs"]
    assert load_config(project / "config.yaml").training.epochs == 14
    assert "bolt: training.epochs" in (project / "trail.jsonl").read_text()
