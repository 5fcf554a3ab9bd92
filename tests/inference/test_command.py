"""``inspect --model DIR``: its output, and the libraries that it does not load."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from test_layers import loaded_after

from defect_detection.cli import main


def test_using_it_is_told_to_nobody(trained_once, paths, tmp_path):
    """OpenVINO's telemetry keeps an id of the user in the home folder, and sends from a thread."""
    command = "import sys, threading; from defect_detection.cli import main; main(); print(threading.active_count())"
    arguments = ["inspect", "--model", trained_once.config().bundle_dir, "--json", paths[0]]
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {
        "HOME": str(tmp_path)
    }
    done = subprocess.run(
        [sys.executable, "-c", command, *arguments],
        env=environment,
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []
    assert done.stdout.splitlines()[-1] == "1"


INSPECT = """
for options in ([], ["--json"]):
    sys.argv = ["defect", "inspect", *options, *{arguments}]
    try:
        runpy.run_module("defect_detection.cli", run_name="__main__")
    except SystemExit as end:
        assert not end.code
"""


def test_the_first_verdict_loads_no_heavy_library(trained_once, paths):
    arguments = ["--model", str(trained_once.config().bundle_dir), str(paths[0])]
    assert loaded_after(f"exec({INSPECT.format(arguments=arguments)!r})") == set()


@pytest.fixture
def run(trained_once, tmp_path, monkeypatch, capsys):
    """A function that inspects with the trained model, without a config.yaml, and returns code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def inspect(*arguments: object) -> tuple[int, str, str]:
        code = main(["inspect", "--model", str(trained_once.config().bundle_dir), *map(str, arguments)])
        return code, *capsys.readouterr()

    return inspect


def test_a_large_folder_shows_its_first_images_and_counts_all(run, paths, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for number, path in enumerate(paths):
        shutil.copyfile(path, folder / f"{number:03}.png")
    (folder / "cut.png").write_bytes(b"cut")
    code, output, errors = run("parts")
    assert code == 3
    assert "parts/000.png" in output
    assert "parts/040.png" not in output
    assert "… and 41 more" in output
    assert "81 images at " in output
    assert " images/s: 40 ok, 40 defective, 1 unreadable; " in output
    assert errors.split() == ["inspecting:", "81/81"]


def test_json_lines_hold_a_verdict_or_an_error(run, paths):
    code, output, _ = run("--json", paths[0], "missing.png")
    good, bad = map(json.loads, output.splitlines())
    assert code == 3
    assert (good["path"], good["verdict"]) == (str(paths[0]), "defective")
    assert (bad["verdict"], bad["score"]) == (None, None)
    assert "missing.png: cannot be read" in bad["error"]


def test_a_setting_needs_no_settings_file_and_a_wrong_one_is_refused(run, paths):
    assert run("--set", "inference.threads=1", paths[0])[0] == 0
    code, _, errors = run("--set", "inference.thread=1", paths[0])
    assert (code, "did you mean 'threads'?" in errors) == (3, True)


def test_overlays_are_not_inspected_however_often_it_runs(run, paths, tmp_path):
    for path in paths[:4]:
        shutil.copyfile(path, tmp_path / path.name)
    for _ in range(3):
        code, output, _ = run("--output", "marked", ".")
        assert (code, "4 images: " in output) == (0, True)
    assert len(list((tmp_path / "marked").rglob("*.png"))) == 4
    _, output, _ = run("--output", "other", ".")
    assert "4 images: " in output
    assert "Left out: 1 folder of overlays (marked)" in output
    code, _, errors = run("--output", ".", ".")
    assert code == 3
    assert "--output .: this folder contains images to inspect" in errors


def test_overlays_among_other_photos_are_no_parts(run, paths, tmp_path):
    for name in ("dent", "scratch"):
        (tmp_path / name).mkdir()
        shutil.copyfile(paths[0], tmp_path / name / "a.png")
    shutil.copyfile(paths[1], tmp_path / "dent" / "b.ok.png")  # a photo of such a name
    assert run("--output", "dent", "scratch")[0] == 0
    assert len(list((tmp_path / "dent").glob("*.png"))) == 3
    for what in ("dent", "dent/*.png"):
        _, output, _ = run(what)
        assert "2 images: " in output
        assert "Left out: 1 overlay" in output


def test_what_is_not_inspected_is_named_with_either_output(run, paths, tmp_path):
    shutil.copyfile(paths[0], tmp_path / "a.png")
    (tmp_path / "b.heic").write_bytes(b"\0\0\0\x18ftypheic")
    code, output, _ = run(".")
    assert (code, "1 file not looked at (1 .heic)" in output) == (0, True)
    code, output, errors = run("--json", ".")
    assert (code, len(output.splitlines())) == (0, 1)
    assert "1 file not looked at (1 .heic)" in errors
    (tmp_path / "config.yaml").write_text(
        "data: {on_unreadable: refuse}\ntraining: {hyperparameter_sets: [{name: only}]}\n"
    )
    code, output, errors = run("--json", ".")
    assert (code, output) == (3, "")
    assert "on_unreadable" in errors
