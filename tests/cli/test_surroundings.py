"""Unexpected files and folders are user errors: exit code 3, the name and advice."""

import errno
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import narrowed
import pytest
from forked import fork
from plant import Plant

from defect_detection.cli import main


def refused(arguments: list[str], capfd) -> str:
    assert main(arguments) == 3
    said = capfd.readouterr().err
    assert "Error: " in said and "Traceback" not in said
    return said


def as_file(path: Path) -> None:
    path.write_text("a file")


@pytest.mark.parametrize(
    ("name", "make", "verb", "message"),
    [
        ("reports", as_file, ["data", "check"], "a file is where a folder is expected"),
        ("cache", as_file, ["data", "check"], "is a file where a folder is expected"),
        ("config.yaml", Path.mkdir, ["history"], "cannot be read (Is a directory)"),
        (".env", Path.mkdir, ["history"], "cannot be read (Is a directory)"),
        ("mlflow.db", Path.mkdir, ["train"], "unable to open database file"),
        ("mlflow.db", as_file, ["train"], "restore the database from a backup"),
        ("best_model_info.txt", Path.mkdir, ["evaluate"], "this is a folder where a file is expected"),
        ("inspections.db", Path.mkdir, ["keys", "list"], "unable to open database file"),
    ],
)
def test_a_file_in_the_place_of_a_folder_and_the_other_way_round(
    name, make, verb, message, project, write_images, tmp_path, capfd
):
    for folder in ("data/train/ok", "data/train/dent", "data/test/ok", "data/test/dent"):
        write_images(tmp_path / folder, 2, side=32)
    project()
    (tmp_path / name).unlink(missing_ok=True)
    make(tmp_path / name)
    said = refused([*verb, "--config", str(tmp_path / "config.yaml")], capfd)
    assert name in said and message in said


def test_an_output_that_cannot_be_made_is_named(trained_once, capfd):
    model = str(trained_once.config().bundle_dir)
    image = str(next((trained_once.root / "data/test/ok").iterdir()))
    said = refused(["inspect", "--model", model, "--output", "/dev/null/out", image], capfd)
    assert "/dev/null/out" in said and os.strerror(errno.ENOTDIR) in said


@pytest.fixture
def read_only(promoted: Plant) -> Iterator[Plant]:
    """A project with a model in production whose files and folders may only be read."""
    subprocess.run(["chmod", "-R", "a-w", str(promoted.root)], check=True)
    yield promoted
    subprocess.run(["chmod", "-R", "u+w", str(promoted.root)], check=True)


def run_bound(plant: Plant, folder: Path, *verb: str) -> tuple[int, str]:
    """Return the exit code of a verb that is bound by permissions, and what it said."""
    config = str(plant.root / "config.yaml")
    child = fork(folder, narrowed.bound_by_permissions, [*verb, "--config", config])
    return child.ended(), child.said()


def test_a_project_that_may_only_be_read_inspects_with_a_cache_elsewhere(read_only, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    inspect = ["inspect", str(read_only.root / "data/test/ok"), "--set"]
    code, said = run_bound(read_only, elsewhere, *inspect, "cache_dir=none")
    assert code == 3 and "permission" in said
    code, said = run_bound(read_only, elsewhere, *inspect, f"cache_dir={elsewhere}")
    assert code == 0, said
    assert "Production_Reg v1" in said


@pytest.mark.parametrize("verb", [["evaluate"], ["promote", "1", "--reason", "a test"]])
def test_a_project_that_may_only_be_read_is_refused_with_a_cure(verb, read_only, tmp_path_factory):
    code, said = run_bound(read_only, tmp_path_factory.mktemp("elsewhere"), *verb)
    assert code == 3, said
    assert "Traceback" not in said
    assert "permission" in said.lower()


def test_a_verb_whose_output_was_closed_before_the_start_does_its_work(promoted):
    command = f"{shlex.quote(sys.executable)} -m defect_detection.cli"
    for closed in ("cache >&-", "history 2>&-"):
        done = subprocess.run(f"{command} {closed}", shell=True, cwd=promoted.root, check=False)
        assert done.returncode == 0, closed
    (promoted.config().report_dir / "report.json").unlink()
    assert fork(promoted.root, narrowed.without_streams, ["evaluate"]).ended() == 0
    assert (promoted.config().report_dir / "report.json").exists()
