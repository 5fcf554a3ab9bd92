"""A new folder: `defect init`, verbs without settings, and training without images."""

import tomllib
from pathlib import Path

import pytest

import defect_detection
from defect_detection.cli import main
from defect_detection.config import load_config, load_retrain_config
from defect_detection.synthetic.sample_data import write_sample_data
from defect_detection.use_cases.project import FILES, shipped

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_init_writes_the_settings_of_the_repository_and_the_folders(here, capsys):
    assert main(["init", "line3"]) == 0
    for name in FILES:
        assert (here / "line3" / name).read_text() == (ROOT / name).read_text() == shipped(name)
    assert (here / "line3/data/train").is_dir() and (here / "line3/data/test").is_dir()
    assert load_config(here / "line3/config.yaml").root == here / "line3"
    assert load_retrain_config(here / "line3/re_train/re_train.yaml").config == here / "line3/config.yaml"
    assert "defect sample-data" in capsys.readouterr().out


def test_sample_data_go_into_the_folders_that_init_made(here):
    main(["init"])
    write_sample_data(here / "data", n_train=6, n_test=4, size=48)
    assert any((here / "data/train").rglob("*.*"))


def test_init_replaces_nothing(here, capsys):
    (here / "config.yaml").write_text("seed: 1\n")
    assert main(["init"]) == 0
    assert (here / "config.yaml").read_text() == "seed: 1\n"
    assert main(["init"]) == 3
    assert "already a project" in capsys.readouterr().err


def test_a_wheel_holds_what_init_writes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packaged = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert packaged == {name: f"defect_detection/project/{name}" for name in FILES}


@pytest.mark.parametrize("settings", [None, "", "data: {image_size: 64}\n"])
@pytest.mark.parametrize(
    ("verb", "code"),
    [
        (["history"], 0),
        (["monitor"], 3),
        (["cache"], 0),
        (["keys", "list"], 0),
        (["inspect"], 3),
        (["data", "check"], 3),
        (["evaluate"], 3),
        (["retrain"], 3),
        (["export", "--format", "onnx", "--output", "out"], 3),
        (["selfcheck"], 3),
        (["feedback", "export"], 0),
        (["prune"], 0),
    ],
)
def test_every_verb_takes_an_empty_a_partial_or_no_configuration(verb, code, settings, here, capfd):
    if settings is not None:
        (here / "config.yaml").write_text(settings)
    assert main(verb) in {code, 3 if verb[0] == "feedback" else code}
    said = capfd.readouterr()
    assert "Traceback" not in said.err and "expected a list of at least one set" not in said.err
    assert "alembic" not in said.err + said.out


@pytest.mark.parametrize("started", [False, True])
def test_training_without_images_says_how_to_begin_and_leaves_nothing(started, here, capsys):
    if started:
        main(["init"])
    before = sorted(here.rglob("*"))
    assert main(["train"]) == 3
    said = capsys.readouterr().err
    assert "defect sample-data" in said and "defect init" in said
    assert sorted(here.rglob("*")) == before


def test_training_without_ok_images_leaves_no_store(here, write_images, capsys):
    for folder in ("train/dent", "test/ok", "test/dent"):
        write_images(here / "data" / folder, 3, side=32)
    assert main(["train"]) == 3
    assert "expected OK images, received 0 OK" in capsys.readouterr().err
    assert not list(here.glob("*.db*"))


def test_the_version_is_shown(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == defect_detection.__version__


def test_the_versions_of_python_agree():
    """TensorFlow has wheels for 3.11 to 3.13."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert "(3, 11) <= sys.version_info[:2] <= (3, 13)" in (ROOT / "Makefile").read_text()
    assert "Python 3.11, 3.12 or 3.13" in (ROOT / "README.md").read_text()
