"""Backup and restore of an embedded project."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from killed import killed_at
from other_user import without_a_name
from recorded import image_of, inspected
from waiting import LIMIT_S

from defect_detection.cli import main
from defect_detection.config import Config, load_config
from defect_detection.config.products import ARCHIVED, FILE
from defect_detection.config.yaml_edit import with_value
from defect_detection.errors import BackupError
from defect_detection.files.copies import read_sums, write_sums
from defect_detection.records.copying import images_of
from defect_detection.records.jobs import claim_job, create_job, find_job
from defect_detection.records.record_store import Records
from defect_detection.use_cases.backup import back_up
from defect_detection.use_cases.restore import restore

N_IMAGES = 5


@pytest.fixture
def line1(tmp_path: Path) -> Config:
    """A project with inspections, and a bundle of two files."""
    root = tmp_path / "line1"
    (root / "temp_best_model").mkdir(parents=True)
    (root / "temp_best_model" / "inspector.json").write_text("{}")
    (root / "config.yaml").write_text("seed: 7  # of this line\n")
    config = load_config(root / "config.yaml")
    record(config, range(N_IMAGES))
    return config


def record(config: Config, numbers: range) -> None:
    records = Records.of(config)
    for number in numbers:
        records.recorder.record(inspected(number), image_of(number))
    assert records.recorder.flush(LIMIT_S)
    records.close()


def restored(backup: Path, root: Path) -> Config:
    restore(backup, root)
    return load_config(root / "config.yaml")


def kept(config: Config) -> set[str]:
    """Return the images that the database names, each of which is there."""
    records = Records.of(config)
    images = images_of(records.database)
    records.close()
    assert all(records.images.read(*image) for image in images)
    return {sha256 for sha256, _ in images}


def test_a_restored_project_has_every_inspection_image_and_model(line1, tmp_path):
    made = back_up(line1, tmp_path / "backup")
    shutil.rmtree(line1.root)
    config = restored(tmp_path / "backup", tmp_path / "elsewhere" / "line2")
    assert len(kept(config)) == N_IMAGES
    assert config.seed == 7
    assert (config.bundle_dir / "inspector.json").read_text() == "{}"
    assert made.files == N_IMAGES + len({"inspections.db", "config.yaml", "inspector.json"})


def test_the_files_that_settings_name_are_in_the_backup(line1, tmp_path):
    line1.file.write_text(
        "data: {ignore_mask: data/fixture.png}\n"
        "training: {hyperparameter_sets: [{name: one, weights: own.h5}, {name: two}]}\n"
    )
    (line1.root / "data").mkdir()
    for name in ("data/fixture.png", "own.h5"):
        (line1.root / name).write_text(name)
    back_up(load_config(line1.file), tmp_path / "backup")
    config = restored(tmp_path / "backup", tmp_path / "line2")
    assert config.data.ignore_mask.read_text() == "data/fixture.png"
    assert (config.root / "own.h5").read_text() == "own.h5"


def test_the_mask_of_each_product_is_in_the_backup_and_damaged_settings_stop_none(line1, tmp_path):
    for name in ("bolts", "caps", "pins"):
        product = line1.root / "products" / name
        (product / "data/train/ok").mkdir(parents=True)
        (product / "data/fixture.png").write_text(name)
        (product / "data/train/ok/1.png").write_text("stays with the images")
        settings = "data: {ignore_mask: data/fixture.png}\n" if name != "pins" else "data: [\n"
        (product / (ARCHIVED if name == "caps" else FILE)).write_text(settings)
    back_up(load_config(line1.file), tmp_path / "backup")
    copied = sorted(path.name for path in (tmp_path / "backup/products").rglob("*") if path.is_file())
    assert copied == sorted([FILE, ARCHIVED, FILE, "fixture.png", "fixture.png"])
    config = load_config(restored(tmp_path / "backup", tmp_path / "line2").file, product="bolts")
    assert config.data.ignore_mask.read_text() == "bolts"


def test_the_list_of_hashes_is_one_that_sha256sum_reads(line1, tmp_path):
    (line1.bundle_dir / "a\\b\nc ü").write_text("odd")
    back_up(line1, tmp_path / "backup")
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path / "backup", check=True)
    assert (restored(tmp_path / "backup", tmp_path / "line2").bundle_dir / "a\\b\nc ü").read_text() == "odd"


def test_a_list_of_hashes_reads_as_it_was_written(tmp_path):
    sums = dict.fromkeys(("plain", "a\\b", "a\\nb", "a\nb", "\\", os.fsdecode(b"\xff")), "0" * 64)
    write_sums(tmp_path / "sums", sums)
    assert read_sums(tmp_path / "sums") == sums


def test_images_that_are_gone_or_damaged_are_named_and_forgotten_in_the_copy(line1, tmp_path):
    images = sorted(path for path in line1.records.images_dir.rglob("*.png"))
    images[0].unlink()
    images[1].write_bytes(b"damaged")
    made = back_up(line1, tmp_path / "backup")
    assert len(made.without_image) == 2
    assert len(kept(restored(tmp_path / "backup", tmp_path / "line2"))) == N_IMAGES - 2


def test_a_job_that_ran_has_failed_in_the_copy_alone(line1, tmp_path):
    records = Records.of(line1)
    job = create_job(records.database, "chief").id
    claim_job(records.database)
    back_up(line1, tmp_path / "backup")
    copy = Records.of(restored(tmp_path / "backup", tmp_path / "line2"))
    assert find_job(records.database, job).state == "running"
    assert (find_job(copy.database, job).state, find_job(copy.database, job).reason[:10]) == (
        "failed",
        "the backup",
    )
    records.close()
    copy.close()


def test_what_lies_outside_of_the_project_lies_inside_the_copy(line1, tmp_path):
    disk = tmp_path / "disk"
    shutil.move(line1.records.images_dir, disk)
    line1.file.write_text(f"seed: 7\nrecords: {{images_dir: {disk}, keep_gb: 3}}  # the large disk\n")
    made = back_up(load_config(line1.file), tmp_path / "backup")
    assert made.moved == {"records.images_dir": "inspections"}
    config = restored(tmp_path / "backup", tmp_path / "line2")
    assert (
        config.file.read_text()
        == 'seed: 7\nrecords: {images_dir: "inspections", keep_gb: 3}  # the large disk\n'
    )
    assert len(kept(config)) == N_IMAGES


def test_a_setting_that_is_not_there_is_not_written():
    assert with_value(b"a: 1\n", "records.images_dir", "x") is None


BACK_UP = """
import shutil
from defect_detection.files import copies
from defect_detection.config import load_config
from defect_detection.use_cases import backup, restore
backup.copy_file = restore.copy_file = counted(copies.copy_file)
pathlib.Path.replace = counted(pathlib.Path.replace)
copies.shutil.copymode = counted(shutil.copymode)
"""
TO_BACKUP = BACK_UP + "backup.back_up(load_config(root / 'line1' / 'config.yaml'), root / 'new')"
TO_RESTORE = BACK_UP + "restore.restore(root / 'backup', root / 'new')"


@pytest.mark.parametrize(("code", "step"), [(TO_BACKUP, 4), (TO_BACKUP, 7), (TO_RESTORE, 4)])
def test_a_killed_command_leaves_no_folder_and_the_next_one_works(line1, tmp_path, code, step):
    back_up(line1, tmp_path / "backup")
    assert killed_at(step, tmp_path, code)
    assert len(list(tmp_path.glob(".unfinished*"))) == 1
    assert not (tmp_path / "new").exists()
    if code == TO_BACKUP:
        back_up(line1, tmp_path / "new")
    else:
        restore(tmp_path / "backup", tmp_path / "new")
    assert len(kept(load_config(tmp_path / "new" / "config.yaml"))) == N_IMAGES
    assert not list(tmp_path.glob(".unfinished*"))


def damage(backup: Path) -> None:
    next(backup.rglob("*.png")).write_bytes(b"damaged")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (damage, "damaged: its SHA-256"),
        (lambda backup: (backup / "inspections.db").unlink(), "missing from the backup"),
        (lambda backup: (backup / "SHA256SUMS").write_text("what?\n"), "expected a SHA-256 and a name"),
        (lambda backup: (backup / "SHA256SUMS").write_text(f"{'0' * 64}  ../x\n"), "outside of the backup"),
        (lambda backup: (backup / "SHA256SUMS").unlink(), "found no SHA256SUMS"),
    ],
)
def test_a_spoilt_backup_is_refused_and_nothing_is_restored(line1, tmp_path, spoil, said):
    back_up(line1, tmp_path / "backup")
    spoil(tmp_path / "backup")
    with pytest.raises(BackupError, match=said):
        restore(tmp_path / "backup", tmp_path / "line2")
    assert not (tmp_path / "line2").exists()


def test_a_folder_with_something_in_it_is_refused_by_both(line1, tmp_path):
    back_up(line1, tmp_path / "backup")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BackupError, match="expected a new or empty folder"):
        back_up(line1, tmp_path / "backup")
    with pytest.raises(BackupError, match="expected a new or empty folder"):
        restore(tmp_path / "backup", line1.root)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_inside_what_is_copied_is_refused(line1):
    with pytest.raises(BackupError, match="lies in"):
        back_up(line1, line1.records.images_dir / "backup")


def test_a_project_on_a_server_is_refused_without_its_password(line1, tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://chief:secret@127.0.0.1:1/inspections")
    with pytest.raises(BackupError, match="DATABASE_URL is postgresql") as caught:
        back_up(load_config(line1.file), tmp_path / "backup")
    assert "secret" not in str(caught.value)


def test_a_folder_without_a_project_is_refused(tmp_path):
    (tmp_path / "config.yaml").touch()
    with pytest.raises(BackupError, match="nothing to back up"):
        back_up(load_config(tmp_path / "config.yaml"), tmp_path / "backup")


def test_a_damaged_database_is_refused(line1, tmp_path):
    database = line1.root / "inspections.db"
    content = bytearray(database.read_bytes())
    content[8192:] = bytes(len(content) - 8192)
    database.write_bytes(content)
    with pytest.raises(BackupError, match=r"inspections.db: cannot be copied: .*malformed"):
        back_up(line1, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


def test_the_command_restores_into_the_current_folder(line1, tmp_path, monkeypatch, capsys):
    assert main(["backup", str(tmp_path / "backup"), "--config", str(line1.file)]) == 0
    (tmp_path / "line2").mkdir()
    monkeypatch.chdir(tmp_path / "line2")
    assert main(["restore", str(tmp_path / "backup")]) == 0
    assert "cd " in capsys.readouterr().out
    monkeypatch.chdir(tmp_path / "line2")  # the current folder was replaced
    assert len(kept(load_config(tmp_path / "line2" / "config.yaml"))) == N_IMAGES
    assert main(["restore", str(tmp_path / "backup"), str(tmp_path / "line2")]) == 3


def test_another_user_restores_into_a_folder_of_its_own(line1, tmp_path):
    back_up(line1, tmp_path / "backup")
    tmp_path.chmod(0o777)
    (tmp_path / "line1").chmod(0o700)
    command = [*without_a_name(), sys.executable, "-m", "defect_detection.cli"]
    environment = os.environ | {"TMPDIR": str(tmp_path), "DEFECT_USER": "night shift"}
    for folder, arguments in ((tmp_path, ["restore", "backup", "line2"]), (tmp_path / "line2", ["prune"])):
        subprocess.run([*command, *arguments], check=True, env=environment, cwd=folder)
    assert (tmp_path / "line2" / "inspections.db").stat().st_uid == 12345
