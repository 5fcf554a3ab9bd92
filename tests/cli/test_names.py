"""File names with markup, line breaks, escape sequences or invalid bytes neither break the output nor stop a run."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from done_once import compiled_once, drawn_once  # noqa: F401  fixtures
from forked import python

from defect_detection.cli import main
from defect_detection.text import printable
from defect_detection.use_cases.evaluate import evaluate

NAMES = [
    "part [cam1].png",
    "[bold]b[].png",
    "部品 1.png",
    "a\nb.png",
    "\x1b[31mred.png",
    "$x_{$.png",
    "<b>&lt;.png",
    os.fsdecode(b"Pr\xfcfling.png"),
    "l" * 240 + ".png",
]
BROKEN = os.fsdecode(b"br\xf6ken.png")


@pytest.fixture
def odd(trained_once, tmp_path) -> Path:
    """A folder of images with such names, one of them broken."""
    return fill(tmp_path / "odd", next((trained_once.root / "data/test/hole").iterdir()))


def fill(folder: Path, image: Path) -> Path:
    folder.mkdir(exist_ok=True)
    try:
        for name in NAMES:
            shutil.copyfile(image, folder / name)
        (folder / BROKEN).write_bytes(b"\x89PNG\r\n\x1a\n")
    except OSError as error:
        if error.errno not in (errno.EILSEQ, errno.EINVAL):  # macOS and Windows take text only
            raise
        pytest.skip(f"this file system refuses such names: {error}")
    return folder


def test_every_name_is_inspected_though_the_encoding_is_ascii(odd, trained_once):
    command = ["inspect", "--model", str(trained_once.config().bundle_dir), "--json", str(odd)]
    done = subprocess.run(
        [sys.executable, "-m", "defect_detection.cli", *command],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    check_every_name(done.returncode, done.stdout)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_every_name_is_inspected_whatever_the_encoding(encoding, odd, trained_once, tmp_path, monkeypatch):
    """The streams are as Python opens them where PYTHONIOENCODING names the encoding."""
    with (tmp_path / "out").open("w", encoding=encoding) as out, (tmp_path / "err").open("w") as err:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        code = main(["inspect", "--model", str(trained_once.config().bundle_dir), "--json", str(odd)])
    check_every_name(code, (tmp_path / "out").read_bytes())


def check_every_name(code: int, lines: bytes) -> None:
    assert code == 3  # one can't be read
    assert "部品 1.png".encode() in lines
    paths = [json.loads(line)["path"] for line in lines.decode("utf-8").splitlines()]
    assert sorted(Path(path).name for path in paths) == sorted(map(printable, [*NAMES, BROKEN]))


def test_a_name_is_shown_as_it_is_and_is_no_markup(odd, trained_once, capfd, monkeypatch):
    monkeypatch.chdir(odd.parent)
    assert main(["inspect", "--model", str(trained_once.config().bundle_dir), "odd"]) == 3
    shown = "".join(capfd.readouterr().out.split())
    for name in map(printable, [*NAMES[:-1], BROKEN]):  # the longest takes two lines
        assert "".join(f"odd/{name}".split()) in shown
    assert "\x1b" not in shown


def test_an_error_shows_no_escape_sequence(tmp_path, capfd):
    assert main(["history", "--config", str(tmp_path / "\x1b[2Jhidden.yaml")]) == 3
    assert "\\x1b[2Jhidden.yaml: cannot be read" in capfd.readouterr().err


def test_reports_and_runs_are_utf8_whatever_the_names_are(plant):
    for name in ("hole", os.fsdecode(b"d\xe9faut")):
        folder = plant.root / "data/test" / name
        fill(folder, next((plant.root / "data/test/hole").glob("2-*.png")))
        for number, image in enumerate(sorted(folder.iterdir())):
            if image.name != BROKEN:
                with image.open("ab") as file:
                    file.write(f"{name} {number}".encode(errors="replace"))  # else they are copies
    done = evaluate(plant.config("data.allow_leakage=true"))
    for path in (*plant.root.glob("reports/**/*.*"), *plant.root.glob("mlartifacts/**/*.txt")):
        if path.suffix in (".json", ".html", ".md", ".txt"):
            path.read_text(encoding="utf-8")
    report = json.loads(done.files["json"].read_text(encoding="utf-8"))
    assert "d\\xe9faut" in json.dumps(report, ensure_ascii=False).replace("\\\\", "\\")
    assert "<b>&lt;.png" not in done.files["html"].read_text(encoding="utf-8")


def test_output_that_nobody_reads_ends_quietly(odd, trained_once):
    code = "import sys; from defect_detection.cli import main; sys.exit(main(sys.argv[1:]))"
    verb = ["-c", code, "inspect", "--model", str(trained_once.config().bundle_dir)]
    for command in ([sys.executable, *verb], [python(), *verb, "--json"]):
        with subprocess.Popen(
            [*command, str(odd)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            process.stdout.close()
            errors = process.stderr.read()
        assert b"Traceback" not in errors and b"Exception" not in errors
        assert process.returncode == 141


def test_a_full_disk_behind_the_output_is_an_error_of_the_users_kind(odd, trained_once):
    if not Path("/dev/full").exists():
        pytest.skip("only Linux has /dev/full")
    command = [sys.executable, "-m", "defect_detection.cli", "inspect", "--json", str(odd)]
    command += ["--model", str(trained_once.config().bundle_dir)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 3
    assert b"No space left on device" in done.stderr and b"Traceback" not in done.stderr
