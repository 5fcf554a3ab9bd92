"""``defect keys``, ``defect prune`` and ``defect feedback export``."""

from datetime import timedelta

import pytest
from recorded import START, image_of, inspected
from sqlalchemy import delete
from waiting import LIMIT_S

from defect_detection.cli import main
from defect_detection.records.counts import count_inspections
from defect_detection.records.feedback import add_feedback
from defect_detection.records.keys import find_key
from defect_detection.records.record_store import Records
from defect_detection.records.tables import TallyRow


@pytest.fixture
def on_disk(project):
    """The records of a project folder, with one labelled inspection."""
    records = Records.of(project())
    for number in (1, 2):
        records.recorder.record(inspected(number), image_of(number))
    assert records.recorder.flush(LIMIT_S)
    add_feedback(records.database, f"{1:08}", "defective", "anna", "scratch")
    yield records
    records.close()


def test_a_key_is_printed_once_and_can_be_revoked(on_disk, tmp_path, capsys):
    options = ["--config", str(tmp_path / "config.yaml")]
    assert main(["keys", "list", *options]) == 0
    assert "No keys" in capsys.readouterr().out
    assert main(["keys", "create", "line 3", "--role", "admin", *options]) == 0
    key = capsys.readouterr().out.strip()
    assert find_key(on_disk.database, key).role == "admin"
    assert main(["keys", "list", *options]) == 0
    listed = capsys.readouterr().out
    assert "line 3" in listed and "in force" in listed and key not in listed
    assert main(["keys", "revoke", "line 3", *options]) == 0
    assert main(["keys", "list", *options]) == 0
    assert "revoked" in capsys.readouterr().out
    assert find_key(on_disk.database, key) is None
    assert main(["keys", "revoke", "line 4", *options]) == 3
    assert "no key is named 'line 4'" in capsys.readouterr().err


def test_a_key_is_made_where_there_can_be_no_local_key(on_disk, tmp_path, capsys):
    (tmp_path / ".defect-key").mkdir()
    assert main(["keys", "create", "chief", "--config", str(tmp_path / "config.yaml")]) == 0
    said = capsys.readouterr()
    assert find_key(on_disk.database, said.out.strip()).role == "operator"
    assert "there is no local key" in said.err and "Traceback" not in said.err


def test_prune_removes_what_the_settings_say(on_disk, tmp_path, capsys):
    options = ["--config", str(tmp_path / "config.yaml"), "--set", "records.keep_days=1"]
    assert main(["prune", *options]) == 0  # nothing was inspected for long: the clock may be wrong
    held_back = capsys.readouterr().out
    assert "Removed 0 inspections" in held_back and "`defect prune --at-once`" in held_back
    assert main(["prune", "--at-once", *options]) == 0
    assert "Removed 1 inspections, 1 images" in capsys.readouterr().out
    assert on_disk.images.read(inspected(1).sha256, ".png") == image_of(1)
    assert on_disk.images.read(inspected(2).sha256, ".png") is None
    assert main(["prune", *options, "--set", "records.keep_gb=0.00000001"]) == 0
    assert "all of them are labelled, so they are kept" in capsys.readouterr().out


def test_feedback_is_exported_without_images_of_the_test_split(on_disk, tmp_path, capsys, write_images):
    write_images(tmp_path / "data" / "test" / "ok", 1)
    options = ["--config", str(tmp_path / "config.yaml")]
    assert main(["feedback", "export", *options, "--set", "data.feedback_dir=null"]) == 3
    assert "data.feedback_dir: expected a folder" in capsys.readouterr().err
    assert main(["feedback", "export", *options]) == 0
    assert len(list((tmp_path / "data" / "feedback" / "scratch").iterdir())) == 1
    capsys.readouterr()
    assert main(["feedback", "export", "--output", str(tmp_path / "out"), *options]) == 0
    assert "1 labelled images" in capsys.readouterr().out
    (exported,) = (tmp_path / "out" / "scratch").iterdir()
    assert exported.read_bytes() == image_of(1)
    (tmp_path / "data" / "test" / "ok" / "same.png").write_bytes(image_of(1))
    setting = ["--set", f"data.feedback_dir={tmp_path}/other"]
    assert main(["feedback", "export", *options, *setting]) == 0
    assert "it is in the test split" in capsys.readouterr().out
    assert not (tmp_path / "other" / "scratch").exists()


def test_a_lost_database_is_an_error_without_a_stack_trace(project, tmp_path, capsys):
    (tmp_path / "inspections.db").mkdir()
    project()
    assert main(["keys", "list", "--config", str(tmp_path / "config.yaml")]) == 3
    assert "inspections.db: unable to open database file" in capsys.readouterr().err


def test_the_sums_are_made_anew_by_a_command(on_disk, tmp_path, capsys):
    with on_disk.database.writing() as session:
        session.execute(delete(TallyRow))
    assert main(["records", "rebuild", "--config", str(tmp_path / "config.yaml")]) == 0
    assert "Recomputed the sums of 1 days" in capsys.readouterr().out
    assert count_inspections(on_disk.database, START, START + timedelta(days=1), 1).judged.labelled == 1
