import importlib.util
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sqlalchemy import make_url

import defect_detection
from defect_detection.config import Config, RetrainConfig, load_config, load_retrain_config
from defect_detection.config.training import HyperparameterSet
from defect_detection.config.yaml_file import read_document, section_in
from defect_detection.environment import RESOLVED
from defect_detection.errors import ConfigError
from defect_detection.tracking.store import sqlite_file

ROOT = Path(__file__).parents[1]
MINIMAL = "training: {hyperparameter_sets: [{name: a}, {name: b}]}\n"
Project = Callable[..., Config]


def load_text(folder: Path, text: str, *overrides: str) -> Config:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, overrides)


def message_of(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_text(folder, text, *overrides)
    return str(caught.value)


def keys_of(
    model: type[BaseModel], above: str = "", known: Collection[str] = ()
) -> Iterator[tuple[str, FieldInfo]]:
    """Yield each key that holds a value, also those of sets and of a search, but a set's own schedule."""
    for name, field in model.model_fields.items():
        inner = section_in(field.annotation)
        if name in known:
            continue
        if inner is not field.annotation:
            yield f"{above}{name}", field
        if inner:
            yield from keys_of(inner, f"{above}{name}.", known=model.model_fields)


@pytest.fixture(scope="module")
def settings_files():
    spec = importlib.util.spec_from_file_location("settings_files", ROOT / "scripts/settings_files.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_settings_that_are_lists_are_written_as_json_and_read_again(tmp_path):
    text = "data: {image_size: [32, 64], region: [0, 4, 80, 56]}\nserving: {behind_proxy: [10.2.0.0/16]}\n"
    config = load_text(tmp_path, text)
    assert (config.data.image_size, config.data.region) == ((32, 64), (0, 4, 80, 56))
    assert Config.model_validate_json(config.model_dump_json()).data == config.data


def test_the_shipped_file_holds_the_defaults(tmp_path):
    shipped, defaults = load_config(ROOT / "config.yaml"), load_text(tmp_path, "")
    here, there = str(shipped.model_dump(mode="json")), str(defaults.model_dump(mode="json"))
    assert here.replace(str(ROOT), "<root>") == there.replace(str(tmp_path), "<root>")


def test_the_shipped_files_are_what_make_config_writes(settings_files):
    for name, text in settings_files.files().items():
        assert (ROOT / name).read_text(encoding="utf-8") == text, f"{name}: run `make config`"


@pytest.mark.parametrize("model", [Config, RetrainConfig])
def test_every_key_is_explained(model):
    assert [key for key, field in keys_of(model) if not field.description] == []


def test_most_people_need_not_read_more_than_sixty_settings(settings_files):
    keys = [key for key, field in keys_of(Config) if not settings_files.is_advanced(field)]
    assert len(keys) <= 60


def test_the_sets_that_the_shipped_file_shows_are_valid(tmp_path):
    text = (ROOT / "config.yaml").read_text()
    shown = re.search(r"    # To try one.*\n((?:    # .*\n)+)", text)
    assert shown
    sets = load_text(
        tmp_path, text.replace(shown[1], shown[1].replace("    # ", "    "))
    ).training.hyperparameter_sets
    assert [one.name for one in sets[3:]] == [
        "smaller_head",
        "finetuned_compact",
        "frozen_efficientnet_lite0",
        "frozen_mobilenetv2",
    ]


def test_shipped_sets_are_heads_on_one_frozen_trunk():
    sets = {one.name: one for one in load_config(ROOT / "config.yaml").training.hyperparameter_sets}
    assert {(one.trunk, one.weights, one.trainable_from) for one in sets.values()} == {
        ("compact", "distilled", None)
    }
    assert [sets[name].branches for name in ("local_only", "pooled_only")] == [("local",), ("pooled",)]


def test_unknown_key_is_refused_with_the_nearest_known_one(tmp_path):
    text = MINIMAL.replace("training: {", "training: {epoch: 5, ")
    assert message_of(tmp_path, text) == "config.yaml: training.epoch: unknown key, did you mean 'epochs'?"


def test_unknown_key_unlike_any_other_lists_the_known_ones(tmp_path):
    assert "unknown key, expected one of: seed, cache_dir" in message_of(tmp_path, f"{MINIMAL}xyzzy: 1")


def test_unknown_key_of_a_hyperparameter_set_is_named_with_its_place(tmp_path):
    text = "training: {hyperparameter_sets: [{name: a}, {name: b, drop_out: 0.1}]}"
    message = message_of(tmp_path, text)
    assert message == (
        "config.yaml: training.hyperparameter_sets.1.drop_out: unknown key, did you mean 'dropout'?"
    )


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.epochs=ten", "training.epochs: expected a whole number above 0, received 'ten'"),
        ("training.epochs=0", "training.epochs: expected a whole number above 0, received 0"),
        ("training.epochs=2.5", "training.epochs: expected a whole number above 0, received 2.5"),
        ("training.epochs=true", "training.epochs: expected a whole number above 0, received true"),
        ("inference.threads=0", "inference.threads: expected a whole number above 0, or null, received 0"),
        ("data.image_size=100", "expected a multiple of 16 from 32 to 1024 (pixels), received 100"),
        ("data.ok_classes=[ok, ../up]", "data.ok_classes.1: expected a list of folder names, without '/'"),
        ("data.image_size=2048", "expected a multiple of 16 from 32 to 1024 (pixels), received 2048"),
        ("data.on_unreadable=ignore", "data.on_unreadable: expected skip or refuse, received 'ignore'"),
        ("data.group_pattern=part", "expected exactly one group in parentheses, found 0, received 'part'"),
        ("data.group_pattern='(a'", "data.group_pattern: expected a regular expression (missing )"),
        (
            "serving.behind_proxy=proxy",
            "serving.behind_proxy: expected true, false, or a list of addresses and networks such as 10.2.0.0/16, received 'proxy'",
        ),
        ("serving.behind_proxy=[10.1.0.300]", "('10.1.0.300' does not appear to be"),
        ("serving.behind_proxy=[10.2.0.1/16]", "(10.2.0.1/16 has host bits set)"),
        ("data.train_dir=null", "data.train_dir: expected a path, received null"),
        (
            "records.prune_every_h=null",
            "hours above 0 (null for records.keep_days and records.keep_gb keeps everything)",
        ),
        ("evaluation_threshold=80", "evaluation_threshold: expected a number from 0 to 1, received 80"),
        ("evaluation=5", "evaluation: expected keys with values, received 5"),
        ("training.hyperparameter_sets=[]", "expected a list of at least one set, received []"),
        ("training.hyperparameter_sets.0.name=No Slug", "expected a name of lower-case letters"),
        ("training.hyperparameter_sets.1.name=a", "a different name for each set; a occurs more than once"),
        (
            "evaluation.operating_point={max_escape_rate: 0.01, threshold: 0.5}",
            "at most one of max_escape_rate, costs, threshold, received max_escape_rate and threshold; keep one of them",
        ),
        ("evaluation.operating_point.costs={escape: 10}", "costs.overkill: missing, expected a number above"),
        ("evaluation.operating_point.costs=10", "expected null or {escape: number, overkill: number}"),
        (
            "evaluation.operating_point.costs={escape: 0, overkill: 1}",
            "costs.escape: expected a number above 0",
        ),
        ("evaluation.review={max_escape_rate: 0.1}", "evaluation.review.max_overkill_rate: missing"),
    ],
)
def test_wrong_value_names_key_expectation_and_what_was_received(tmp_path, override, expected):
    assert expected in message_of(tmp_path, MINIMAL, override)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ("{}", "balanced"),
        ("{max_escape_rate: 0.01}", "max_escape_rate"),
        ("{max_escape_rate: 0}", "max_escape_rate"),
        ("{costs: {escape: 10, overkill: 1}}", "costs"),
        ("{threshold: 0}", "fixed"),
    ],
)
def test_the_rule_is_that_of_the_key_that_is_given(tmp_path, settings, rule):
    config = load_text(tmp_path, MINIMAL, f"evaluation.operating_point={settings}")
    assert config.evaluation.operating_point.chosen_rule == rule


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("{base: c, space: {dropout: [0.1, 0.2]}}", "search.base to name one of the sets (a, b), not c"),
        ("{base: a, space: {drop_out: [0.1, 0.2]}}", "drop_out is none, did you mean 'dropout'?"),
        ("{base: a, space: {name: [b, c]}}", "name is none"),
        ("{base: a, space: {dropout: [0.1]}}", "a list of two or more values, or {low: number, high"),
        ("{base: a, space: {dropout: {low: 0.5, high: 0.1}}}", "a list of two or more values"),
        ("{base: a, space: {dropout: {low: 0.1, hi: 0.5}}}", "a list of two or more values"),
        ("{base: a, space: {dropout: {low: x, high: 0.5}}}", "a list of two or more values"),
        ("{base: a, space: {dropout: {low: 0.5, high: 1.0}}}", "dropout to be a number, 0 <= x < 1"),
        (
            "{base: a, space: {hidden_units: {low: 2.5, high: 8}}}",
            "hidden_units to be a whole number above 0",
        ),
        (
            "{base: a, space: {branches: [[pooled], [locla]]}}",
            "branches to be a list of pooled, local or both",
        ),
        ("{base: a, space: {}}", "training.search.space: expected a mapping of hyperparameters"),
        ("{base: a, space: 3}", "training.search.space: expected a mapping of hyperparameters"),
        ("{space: {dropout: [0.1, 0.2]}}", "training.search.base: missing, expected a name"),
        (
            "{base: a, trial: 3, space: {dropout: [0, 0.2]}}",
            "search.trial: unknown key, did you mean 'trials'?",
        ),
        (
            "{base: a, timeout_s: 0, space: {dropout: [0, 0.2]}}",
            "search.timeout_s: expected a number above 0",
        ),
        ("30", "training.search: expected null or keys with values, received 30"),
    ],
)
def test_wrong_search_is_named(tmp_path, search, expected):
    assert expected in message_of(tmp_path, MINIMAL, f"training.search={search}")


def test_the_search_that_the_shipped_file_shows_is_valid(tmp_path):
    text = (ROOT / "config.yaml").read_text()
    shown = re.search(r"  search: null\n((?:  # .*\n)+)", text)
    assert shown
    search = load_text(tmp_path, text.replace(shown[0], shown[1].replace("  # ", "  "))).training.search
    assert search is not None
    assert (search.base, search.space["pooled_regularization"]) == (
        "frozen_compact",
        {"low": 0.001, "high": 1},
    )


def test_a_range_takes_numbers_as_yaml_writes_them(tmp_path):
    space = "{learning_rate: {low: 1e-4, high: 1e-2}, hidden_units: {low: 8, high: 64}}"
    training = load_text(tmp_path, MINIMAL, f"training.search={{base: a, space: {space}}}").training
    assert training.search.space["learning_rate"] == {"low": 0.0001, "high": 0.01}


def test_all_problems_are_listed_one_a_line(tmp_path):
    lines = message_of(tmp_path, f"{MINIMAL}seed: -1\nevaluation_threshold: high\n").splitlines()
    assert len(lines) == 2
    assert all(line.startswith("config.yaml: ") for line in lines)


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "training:\n", "training: {epochs: 3}", "data: {image_size: 64}"]
)
def test_what_a_configuration_leaves_out_has_its_default(tmp_path, text):
    sets = load_text(tmp_path, text).training.hyperparameter_sets
    assert [one.name for one in sets] == ["frozen_compact", "local_only", "pooled_only"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1\n", "not valid YAML: line 2"),
        ("seed: 1\nseed: 2\n", "line 2, column 1: duplicate key 'seed'"),
        ("- 1\n", "expected keys with values"),
    ],
)
def test_file_that_is_no_mapping_names_the_place(tmp_path, text, expected):
    assert expected in message_of(tmp_path, text)


def test_a_folder_without_settings_has_the_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for config in (load_config(), load_config(Path("config.yaml"), ["seed=42"])):
        assert (config.root, config.seed) == (tmp_path, 42)
        assert config.data.train_dir == tmp_path / "data/train"
    assert load_retrain_config(Path("re_train/re_train.yaml")).config == tmp_path / "config.yaml"


def test_another_file_that_is_missing_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match=r"other\.yaml: cannot be read .* run the command in its folder"):
        load_config(tmp_path / "other.yaml")


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path):
    config = load_text(tmp_path, f"{MINIMAL}data: {{train_dir: ../parts, test_dir: /elsewhere}}\n")
    assert config.root == tmp_path
    assert config.data.train_dir == tmp_path.parent / "parts"
    assert config.data.test_dir == Path("/elsewhere")
    assert config.cache_dir == tmp_path / "cache"
    assert config.inference_images == (str(tmp_path / "data/test"),)


def test_weights_are_a_keyword_or_a_path_from_the_folder_of_the_file(tmp_path):
    names = ["distilled", "procedural", "imagenet", "null", "mine.h5"]
    sets = ", ".join(f"{{name: n{place}, weights: {name}}}" for place, name in enumerate(names))
    config = load_text(tmp_path, f"training: {{hyperparameter_sets: [{sets}]}}")
    weights = [one.weights for one in config.training.hyperparameter_sets]
    assert weights == ["distilled", "procedural", "imagenet", None, str(tmp_path / "mine.h5")]


def test_empty_section_is_the_section_of_defaults(tmp_path):
    assert load_text(tmp_path, f"{MINIMAL}serving:\ndata:\n").serving.port == 5001


def test_overrides_win_and_take_yaml_values(tmp_path):
    overrides = ["training.epochs=5", "training.learning_rate=1e-4", "data.ok_classes=[fine]"]
    config = load_text(tmp_path, MINIMAL, *overrides, "training.hyperparameter_sets.1.dropout=0.1")
    assert (config.training.epochs, config.training.learning_rate) == (5, 0.0001)
    assert config.data.ok_classes == ("fine",)
    assert [one.dropout for one in config.training.hyperparameter_sets] == [0.3, 0.1]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "training.epochs",
            "override: expected key=value as in training.epochs=5, received 'training.epochs'",
        ),
        ("training.epoch=5", "override: training.epoch: unknown key, did you mean 'epochs'?"),
        ("training.hyperparameter_sets.2.dropout=0", "expected a number from 0 to 1 where '2' is"),
        ("training.hyperparameter_sets.0.name.x=0", "expected no further key where 'x' is"),
        ("seed=[", "override: seed: not valid YAML"),
    ],
)
def test_wrong_override_is_named_as_one(tmp_path, override, expected):
    assert expected in message_of(tmp_path, MINIMAL, override)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["evaluation.operating_point.threshold=0.5", "evaluation.operating_point.max_escape_rate=0.1"],
            "override or config.yaml: evaluation.operating_point: expected at most one of",
        ),
        (
            ["evaluation.operating_point.costs.escape=10"],
            "override or config.yaml: evaluation.operating_point.costs.overkill: missing",
        ),
    ],
)
def test_overrides_may_contradict_the_file_or_each_other(tmp_path, overrides, message):
    assert message_of(tmp_path, MINIMAL, *overrides).startswith(message)


def test_a_set_takes_what_it_leaves_out_of_its_schedule_from_training(tmp_path):
    text = "training: {epochs: 7, batch_size: 8, hyperparameter_sets: [{name: a, epochs: 3}]}"
    training = load_text(tmp_path, text).training
    resolved = training.resolved(training.hyperparameter_sets[0])
    assert (resolved.epochs, resolved.batch_size, resolved.learning_rate) == (3, 8, 0.001)
    assert training.resolved(resolved) == resolved


def test_settings_of_a_model_survive_being_written_and_read(project: Project):
    training = project().training
    resolved = training.resolved(training.hyperparameter_sets[0])
    assert HyperparameterSet.model_validate(resolved.model_dump(mode="json")) == resolved


def test_tracking_uri_is_the_environment_then_dotenv_then_a_file_beside_the_config(
    tmp_path, monkeypatch, project: Project
):
    assert project().tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
    (tmp_path / ".env").write_text("MLFLOW_TRACKING_URI=http://from-file:5000\n")
    assert project().tracking_uri == "http://from-file:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://from-environment:5000")
    assert project().tracking_uri == "http://from-environment:5000"


def test_an_address_leads_into_its_project_whatever_the_folder_is_called(tmp_path):
    """SQLite's addresses have options after ``?`` and mean a blank by ``%20``."""
    for name in ("line%201", "what?x=1", "50% off", "a#b"):
        config = tmp_path / name / "config.yaml"
        config.parent.mkdir()
        config.write_text("")
        loaded = load_config(config)
        assert make_url(loaded.database_url).database == str(config.with_name("inspections.db"))
        assert make_url(loaded.tracking_uri).database == str(sqlite_file(loaded.tracking_uri))
        assert sqlite_file(loaded.tracking_uri) == config.with_name("mlflow.db").resolve()


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite:///runs/mlflow.db", "sqlite:///{root}/runs/mlflow.db"),
        ("sqlite:///mlflow.db?timeout=5", "sqlite:///{root}/mlflow.db?timeout=5"),
        ("sqlite:////srv/mlflow.db", "sqlite:////srv/mlflow.db"),
        ("http://server:5000", "http://server:5000"),
        ("postgresql://me:secret@server/x", "postgresql://me:secret@server/x"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("", None),
    ],
)
def test_a_relative_address_counts_from_the_folder_of_the_settings(
    tmp_path, monkeypatch, project: Project, uri: str, expected: str | None
):
    monkeypatch.chdir("/")
    names = {"tracking_uri": "MLFLOW_TRACKING_URI", "database_url": "DATABASE_URL"}
    defaults = {name: getattr(project(), name) for name in names}
    for name, variable in names.items():
        wanted = expected.format(root=tmp_path) if expected else defaults[name]
        (tmp_path / ".env").write_text(f"{variable}={uri}\n")
        assert getattr(project(), name) == wanted
        (tmp_path / ".env").write_text(f"{variable}=http://of-the-file\n")
        monkeypatch.setenv(variable, uri)
        assert getattr(project(), name) == wanted
        monkeypatch.delenv(variable)


def test_the_environment_counts_when_the_settings_are_loaded_and_not_later(
    tmp_path, monkeypatch, project: Project
):
    (tmp_path / ".env").write_text("MLFLOW_TRACKING_URI=http://a:1\nDATABASE_URL=postgresql://a/b\n")
    config = project()
    for variable in ("MLFLOW_TRACKING_URI", "DATABASE_URL"):
        monkeypatch.setenv(variable, "http://later:1")
    assert (config.tracking_uri, config.database_url) == ("http://a:1", "postgresql://a/b")


def test_dotenv_of_one_project_does_not_reach_another_in_the_same_process(
    tmp_path, monkeypatch, project: Project
):
    monkeypatch.setenv("DEFECT_REAL", "stays")
    text = f"MLFLOW_TRACKING_URI=http://a:1\nDATABASE_URL=postgresql://a/b\nDEFECT_API_KEY={'k' * 16}\n"
    (tmp_path / ".env").write_text(text + "MLFLOW_TRACKING_TOKEN=of-a\nDEFECT_REAL=lost\n")
    other = tmp_path / "b/config.yaml"
    other.parent.mkdir()
    shutil.copy(tmp_path / "config.yaml", other)
    first = project()
    assert os.environ["MLFLOW_TRACKING_TOKEN"] == "of-a"  # MLflow looks there
    assert os.environ["DEFECT_REAL"] == "stays"
    second = load_config(other)
    assert second.tracking_uri == f"sqlite:///{other.parent}/mlflow.db"
    assert second.database_url == f"sqlite:///{other.parent}/inspections.db"
    assert second.serving.api_key is None
    assert "MLFLOW_TRACKING_TOKEN" not in os.environ
    assert (first.tracking_uri, first.database_url) == ("http://a:1", "postgresql://a/b")


def test_only_the_settings_read_the_variables_that_name_stores_and_keys():
    package = Path(defect_detection.__file__).parent
    reads = re.compile(rf"(environ|getenv).*({'|'.join(RESOLVED)}|KEY_VARIABLE)")
    found = [path.name for path in package.rglob("*.py") if reads.search(path.read_text(encoding="utf-8"))]
    assert found == []


def test_api_key_comes_from_the_environment_and_is_never_shown(tmp_path, monkeypatch, project: Project):
    secret = "sixteen-and-more-characters"
    monkeypatch.setenv("DEFECT_API_KEY", secret)
    config = project()
    assert config.serving.api_key is not None
    assert config.serving.api_key.get_secret_value() == secret
    assert secret not in repr(config) + config.model_dump_json()
    monkeypatch.setenv("DEFECT_API_KEY", "too-short")
    with pytest.raises(ConfigError) as caught:
        project()
    assert "serving.api_key: expected null or at least 16 characters" in str(caught.value)
    assert "too-short" not in str(caught.value)


def test_dotenv_of_one_test_does_not_reach_the_next():
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_settings_can_not_be_changed_later(project: Project):
    with pytest.raises(ValueError, match="frozen"):
        project().seed = 1


def test_retrain_settings_name_the_config_and_pass_overrides_on(tmp_path):
    path = tmp_path / "re_train" / "re_train.yaml"
    path.parent.mkdir()
    path.write_text("set: {training.epochs: 5, data.ok_classes: [fine, good], data.group_pattern: null}\n")
    (tmp_path / "config.yaml").write_text(MINIMAL)
    retrain = load_retrain_config(path)
    config = load_config(retrain.config, retrain.overrides)
    assert config.training.epochs == 5
    assert config.data.ok_classes == ("fine", "good")
    assert config.root == tmp_path


def test_wrong_retrain_settings_are_named(tmp_path):
    path = tmp_path / "re_train.yaml"
    path.write_text("start_form: scratch\nmetric: f1\nbase_models: [Testing_Reg]\n")
    with pytest.raises(ConfigError) as caught:
        load_retrain_config(path)
    assert set(str(caught.value).splitlines()) == {
        "re_train.yaml: start_form: unknown key, did you mean 'start_from'?",
        "re_train.yaml: metric: expected accuracy, balanced_accuracy or auroc, received 'f1'",
        "re_train.yaml: base_models.0: expected a list of name@alias, received 'Testing_Reg'",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]: x", "line 1, column 1: expected a name as the key, received a list"),
        ("data: {{a: b}: x}", "line 1, column 8: expected a name as the key, received a mapping"),
        ("training:\n  1: x", "line 2, column 3: expected a name as the key, received '1'"),
        ("on: x", "expected a name as the key, received 'on', which YAML reads as another type"),
        ("null: x", "expected a name as the key, received 'null'"),
        ("seed: 2024-13-41", "not valid YAML: month must be in 1..12"),
        ("data:\n\timage_size: 64", "line 2, column 1: found character"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ("- a", "expected keys with values"),
    ],
)
def test_what_is_no_mapping_of_names_is_an_error(tmp_path, text, message):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(tmp_path / "config.yaml")


def test_settings_may_be_utf16_with_a_mark(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 7\n", encoding="utf-16")
    assert read_document(tmp_path / "config.yaml") == {"seed": 7}


@pytest.mark.parametrize("name", ["config.yaml", ".env"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le"])
def test_a_file_that_is_not_utf8_is_named_with_its_cure(project, tmp_path, name, encoding):
    assert project().seed == 42
    text = "# Prüfling\nDEFECT_USER=a\n" if name == ".env" else "# Prüfling\nseed: 7\n"
    (tmp_path / name).write_text(text, encoding=encoding)
    with pytest.raises(ConfigError, match=rf"{re.escape(name)}: expected text in UTF-8.*UTF-8"):
        project()


def test_a_folder_in_the_place_of_env_is_named(project, tmp_path):
    (tmp_path / ".env").mkdir()
    with pytest.raises(ConfigError, match=r"\.env: cannot be read \(Is a directory\)"):
        project()


# -- settings of earlier versions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "training: {hyperparameter_sets: [{name: a, lights: 2}]}",
            "config.yaml: training.hyperparameter_sets.0.lights: removed; it had no measurable effect. "
            "Delete the key",
        ),
        (
            "evaluation: {operating_point: {rule: fixed, threshold: 0.5}}",
            "config.yaml: evaluation.operating_point.rule: removed; the rule now follows from max_escape_rate, "
            "costs or threshold. Delete the key",
        ),
        (
            "evaluation: {review: {max_escape_rate: 0.1, max_overkill_rate: 0.1, confidence: 0.9}}",
            "config.yaml: evaluation.review.confidence: removed; set evaluation.confidence instead, which "
            "applies to all claims and intervals",
        ),
        (
            "evaluation: {review_fraction: 0.05}",
            "config.yaml: evaluation.review_fraction: removed; set review instead, such as "
            "{max_escape_rate: 0.01, max_overkill_rate: 0.02}",
        ),
    ],
)
def test_a_removed_setting_names_what_holds_now(tmp_path, text, message):
    assert message_of(tmp_path, text) == message


@pytest.mark.parametrize(
    "text",
    [
        "training: {hyperparameter_sets: [{name: a, lights: 0}]}",
        "evaluation: {operating_point: {rule: null, threshold: 0.5}}",
        "evaluation: {review_fraction: 0.0}",
        "evaluation: {operating_point: {max_escape_rate: 0.1, confidence: null}}",
    ],
)
def test_a_removed_setting_that_was_turned_off_is_accepted(tmp_path, text):
    load_text(tmp_path, text)


def test_a_search_for_a_removed_setting_names_what_holds_now(tmp_path):
    text = "training: {hyperparameter_sets: [{name: a}], search: {base: a, space: {lights: [0, 1]}}}"
    assert "it had no measurable effect" in message_of(tmp_path, text)
