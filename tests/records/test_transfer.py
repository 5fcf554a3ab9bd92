"""Records are copied to another kind of database, and back, with every row and image."""

import psycopg
import pytest
from postgres import plain
from recorded import image_of, inspected
from sqlalchemy import update
from waiting import LIMIT_S

from defect_detection.cli import main
from defect_detection.errors import RecordsError
from defect_detection.records import transfer
from defect_detection.records.database import Database
from defect_detection.records.feedback import add_feedback
from defect_detection.records.image_store import ImageFolder
from defect_detection.records.inspections import find_inspection
from defect_detection.records.jobs import create_job
from defect_detection.records.keys import create_key, list_keys
from defect_detection.records.record_store import Records
from defect_detection.records.tables import BaseTable, InspectionRow
from defect_detection.records.transfer import copy_records

N_INSPECTIONS = 7


@pytest.fixture
def source(tmp_path):
    """A SQLite database with a row in each table."""
    records = Records(Database(f"sqlite:///{tmp_path}/inspections.db"), ImageFolder(tmp_path / "inspections"))
    for number in range(N_INSPECTIONS):
        records.recorder.record(inspected(number, line="L'ü 1", score=0.1 + number / 7), image_of(number))
    assert records.recorder.flush(LIMIT_S)
    for number in (0, 1):
        add_feedback(records.database, f"{number:08}", "defective", "chief", comment="a\nb")
    create_key(records.database, "line 3", "operator")
    create_job(records.database, "chief")
    yield records
    records.close()


@pytest.fixture
def target(postgres_records_url):
    database = Database(postgres_records_url)
    yield database
    database.close()


def test_every_row_arrives_in_postgresql_and_back_and_labels_go_on(source, target, tmp_path):
    there = copy_records(source.database, target, source.images)
    assert there.rows["inspections"] == there.rows["images"] == N_INSPECTIONS
    assert (there.rows["feedback"], there.rows["api_keys"], there.rows["jobs"]) == (2, 1, 1)
    assert there.images_missing == ()
    assert there.rows.keys() == BaseTable.metadata.tables.keys()
    assert find_inspection(target, "00000003") == find_inspection(source.database, "00000003")
    assert list_keys(target) == list_keys(source.database)
    assert add_feedback(target, "00000003", "ok", "chief").id == 3
    back = Database(f"sqlite:///{tmp_path}/back.db")
    assert copy_records(target, back, source.images).rows["feedback"] == 3
    assert add_feedback(back, "00000003", "defective", "chief").id == 4
    back.close()


def test_a_copy_that_was_ended_goes_on_and_takes_what_came_meanwhile(source, target, monkeypatch):
    monkeypatch.setattr(transfer, "BATCH", 2)

    def end(task: str, phase: str, done: int, total: int, metrics: object = None) -> None:
        if (task, phase, done, total) == ("copying records", "inspections", 4, N_INSPECTIONS):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_records(source.database, target, source.images, end)
    source.recorder.record(inspected(8), image_of(8))
    assert source.recorder.flush(LIMIT_S)
    assert copy_records(source.database, target, source.images).rows["inspections"] == N_INSPECTIONS + 1


def test_a_target_with_other_data_is_refused_and_stays_as_it_is(source, target):
    create_key(target, "another", "admin")
    with pytest.raises(RecordsError, match="holds other data: api_keys has a row 'another'"):
        copy_records(source.database, target, source.images)
    assert [key.name for key in list_keys(target)] == ["another"]


def test_a_row_that_differs_is_noticed(source, target):
    copy_records(source.database, target, source.images)
    with target.writing() as session:
        session.execute(update(InspectionRow).where(InspectionRow.id == "00000002").values(score=0.25))
    with pytest.raises(RecordsError, match=r"inspections: expected 7 rows .* of which some differ"):
        copy_records(source.database, target, source.images)


def test_a_row_that_the_target_does_not_take_is_named(source, target):
    with source.database.writing() as session:
        session.execute(update(InspectionRow).where(InspectionRow.id == "00000002").values(verdict="v" * 17))
    with pytest.raises(RecordsError, match=r"inspections: cannot store a row.*too long"):
        copy_records(source.database, target, source.images)


def test_the_command_compares_images_and_hides_the_password(
    source, target, tmp_path, postgres_records_url, capsys
):
    next((tmp_path / "inspections").rglob("*.png")).write_bytes(b"damaged")
    (tmp_path / "config.yaml").touch()
    url = plain(postgres_records_url).replace("postgres@", "postgres:secret@")
    command = ["records", "copy", "--config", str(tmp_path / "config.yaml"), "--to"]
    assert main([*command, url]) == 0
    said = capsys.readouterr()
    assert "1 images were already missing or damaged" in said.out
    assert f"copying records: inspections {N_INSPECTIONS}/{N_INSPECTIONS}" in said.err
    assert f"comparing images: reading {N_INSPECTIONS}/{N_INSPECTIONS}" in said.err
    assert "secret" not in said.out + said.err
    assert main([*command, f"sqlite:///{tmp_path}/inspections.db"]) == 3
    with psycopg.connect(plain(postgres_records_url)) as connection:
        assert connection.execute("SELECT count(*) FROM inspections").fetchone() == (N_INSPECTIONS,)


def test_a_wrong_address_is_refused_by_the_name_of_the_option(tmp_path, capsys):
    (tmp_path / "config.yaml").touch()
    assert main(["records", "copy", "--config", str(tmp_path / "config.yaml"), "--to", "nonsense"]) == 3
    said = capsys.readouterr().err
    assert "--to: expected postgresql://" in said
    assert "DATABASE_URL" not in said
