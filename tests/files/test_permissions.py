"""Paths that are not files or are malicious are refused, and written files are not readable by everyone."""

import os
import socket
import sqlite3
from pathlib import Path

import pytest

from defect_detection.cli import main
from defect_detection.config import load_config
from defect_detection.data.samples import scan_folder
from defect_detection.data.walk import find_images, walk
from defect_detection.errors import BundleError, ConfigError, DataError, TrackingError
from defect_detection.model.bundle import read_card, read_held_out
from defect_detection.records.database import Database
from defect_detection.records.image_store import ImageFolder
from defect_detection.tracking import store
from defect_detection.tracking.best_model import BestModelInfo

PICTURE = b"\xff\xd8\xff\xe0 begins like a JPEG file"
NO_FILE = "expected a file, received a pipe, a socket or a device"


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    return tmp_path


# -- pipes, sockets, devices ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file_is_named_and_never_opened(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)  # the path of a socket is short

    def put(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(os.path.relpath(path))
        return path

    for read in (load_config, BestModelInfo.read):
        with pytest.raises((ConfigError, OSError), match=NO_FILE):
            read(put(f"{len(list(tmp_path.iterdir()))}"))
    with pytest.raises(BundleError):
        read_card(put("bundle/inspector.json").parent)
    assert read_held_out(put("bundle/held_out_scores.npz").parent) == {}
    picture = put("parts/ok/a.png")
    with pytest.raises(DataError, match="neither a file nor a folder"):
        find_images([str(picture)])
    assert [one.path for one in walk(tmp_path / "parts").skipped] == [picture]
    put("parts/index.csv")
    with pytest.raises(DataError, match="expected a CSV file"):
        scan_folder(tmp_path / "parts", ["ok"])
    (tmp_path / "config.yaml").write_text("")
    put(".env")
    with pytest.raises(ConfigError, match=NO_FILE):
        load_config(tmp_path / "config.yaml")


# -- links ------------------------------------------------------------------------------------------------------------


def test_a_link_out_of_a_class_folder_to_the_system_or_around_it_is_named_and_not_followed(tmp_path):
    train = tmp_path / "data/train"
    for name in ("data/train/ok/a.jpg", "data/test/ok/of_the_test.jpg", "elsewhere/b.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(PICTURE)
    targets = {
        "root": "/",
        "proc": "/proc/self",
        "above": tmp_path / "data",
        "relative": "../../..",
        "usr": "/usr",
    }
    for name, target in targets.items():
        (train / "ok" / name).symlink_to(target)
    (train / "ok/images").symlink_to(tmp_path / "elsewhere")
    (train / "ok/again").symlink_to(train)
    walked = walk(train)
    assert [path.name for path in walked.images] == ["a.jpg", "b.jpg"]
    assert {one.path.name for one in walked.skipped} == targets.keys()
    assert all("was not followed" in one.reason for one in walked.skipped)
    assert walked.left_out["repeated link", ""] == 1


# -- config.yaml ------------------------------------------------------------------------------------------------------

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{here}: &{here} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, here in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGED = "a: &a {x: 1}\n" + "".join(
    f"{here}: &{here}\n  <<: [{', '.join([f'*{before}'] * 9)}]\n"
    for before, here in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "line 5, column 4: expected at most 10000 values, received aliases"),
        (MERGED, "received aliases"),
        ("data: &me {train_dir: *me}\n", "received aliases"),
        ('data: {train_dir: "a\\0b"}\n', "line 1, column 19: expected a text without zero bytes"),
        ('report_dir: "\\u0000"\n', "zero bytes"),
        ('"see\\0d": 1\n', "zero bytes"),
    ],
)
def test_a_configuration_that_is_made_to_do_harm_is_refused(project, capsys, text, said):
    (project / "config.yaml").write_text(text)
    assert main(["history"]) == 3
    error = capsys.readouterr().err
    assert error.startswith("Error: ")
    assert said in error


def test_an_override_holds_no_zero_byte_and_an_alias_is_no_harm(project, capsys):
    with pytest.raises(ConfigError, match=r"override: cache_dir: .*zero bytes"):
        load_config(project / "config.yaml", ['cache_dir="a\\0b"'])
    (project / "config.yaml").write_text("data: {train_dir: &here parts, test_dir: *here}\n")
    assert load_config(project / "config.yaml").data.test_dir == project / "parts"


# -- permissions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("umask", "file", "folder"), [(0o022, 0o640, 0o750), (0o077, 0o600, 0o700), (0, 0o660, 0o770)]
)
def test_images_and_records_are_not_for_everybody_and_honour_the_umask(tmp_path, umask, file, folder):
    before = os.umask(umask)
    try:
        images = ImageFolder(tmp_path / "images")
        with images.lock:
            images.add("ab" * 32, PICTURE)
        database = Database(f"sqlite:///{tmp_path / 'inspections.db'}")
        with database.writing():
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("inspections.db*")}
        database.close()
    finally:
        os.umask(before)
    modes.pop("inspections.db.lock", None)
    assert modes == dict.fromkeys(("inspections.db", "inspections.db-wal", "inspections.db-shm"), file)
    place = images.path_of("ab" * 32, ".jpg")
    assert [path.stat().st_mode & 0o777 for path in (place, place.parent, images.folder)] == [
        file,
        folder,
        folder,
    ]


def test_a_database_that_is_there_keeps_its_permissions(tmp_path):
    path = tmp_path / "inspections.db"
    sqlite3.connect(path).close()
    path.touch()
    path.chmod(0o664)
    database = Database(f"sqlite:///{path}")
    with database.reading():
        assert path.stat().st_mode & 0o777 == 0o664
    database.close()


# -- a store that does not answer -------------------------------------------------------------------------------------


def test_a_database_of_mlflow_that_does_not_answer_is_told_soon(monkeypatch):
    monkeypatch.setattr(store, "PROBE_TIMEOUT_S", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        uri = f"postgresql://anna:secret@127.0.0.1:{port}/mlflow"
        for connect in (store.connect, store.check_store):
            with pytest.raises(TrackingError, match=r"cannot be used.*MLFLOW_TRACKING_URI") as caught:
                connect(uri)
            assert "secret" not in str(caught.value)
    with pytest.raises(TrackingError, match="cannot be used"):
        store.connect(uri)  # now nobody listens
