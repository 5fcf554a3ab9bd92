"""Recording without database or disk: predictions continue, and losses are counted, logged and shown."""

import logging
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import psycopg
import pytest
from postgres import as_ordinary_user, plain, program, running, with_owner
from recorded import image_of, inspected
from waiting import LIMIT_S, wait_until

from benchmarks.ports import free_port
from defect_detection.errors import RecordsError
from defect_detection.records import writer
from defect_detection.records.database import Database
from defect_detection.records.feedback import add_feedback
from defect_detection.records.image_store import ImageFolder
from defect_detection.records.paging import Filter, find_page
from defect_detection.records.record_store import Records
from defect_detection.records.writer import BATCH, RecordWriter


def ids(records: Records) -> list[str]:
    return [one.inspected.id for one in find_page(records.database, Filter(), None, 500).inspections]


@pytest.fixture
def on_sqlite(tmp_path: Path):
    records = Records(Database(f"sqlite:///{tmp_path}/inspections.db"), ImageFolder(tmp_path / "inspections"))
    yield records
    records.close()


def test_an_inspection_waits_for_others_but_not_where_somebody_waits_for_it(on_sqlite, monkeypatch):
    monkeypatch.setattr(writer, "GATHER_S", 3600)
    on_sqlite.recorder.record(inspected(0), image_of(0))
    assert on_sqlite.recorder.flush(LIMIT_S)
    assert len(ids(on_sqlite)) == 1
    for number in range(1, BATCH):
        on_sqlite.recorder.record(inspected(number), image_of(number))
    assert on_sqlite.recorder.state().waiting == BATCH - 1
    on_sqlite.recorder.record(inspected(BATCH), image_of(BATCH))  # a whole batch
    wait_until(lambda: on_sqlite.recorder.state().waiting == 0)
    on_sqlite.recorder.record(inspected(BATCH + 1), image_of(BATCH + 1))
    on_sqlite.recorder.close()
    assert on_sqlite.recorder.state().written == BATCH + 2


def test_what_comes_while_the_file_is_lost_is_written_once_it_is_back(on_sqlite, tmp_path, caplog):
    blocked = tmp_path / "inspections.db"
    blocked.mkdir()
    with pytest.raises(RecordsError, match="unable to open database file"):
        on_sqlite.recorder.check()
    for number in range(3):
        on_sqlite.recorder.record(inspected(number), image_of(number))
    wait_until(lambda: on_sqlite.recorder.state().error is not None)
    state = on_sqlite.recorder.state()
    assert (state.written, state.waiting, state.lost) == (0, 3, 0)
    assert "unable to open database file" in state.error
    with pytest.raises(RecordsError, match=r"inspections cannot be recorded: .* unable to open"):
        on_sqlite.recorder.check()
    assert state.failing_since is not None
    blocked.rmdir()
    assert on_sqlite.recorder.flush(LIMIT_S)
    assert len(ids(on_sqlite)) == 3
    state = on_sqlite.recorder.state()
    assert (state.written, state.lost, state.error, state.failing_since) == (3, 0, None, None)
    on_sqlite.recorder.check()
    levels = [record.levelno for record in caplog.records]
    assert levels == [logging.ERROR, logging.WARNING]
    assert "predictions continue" in caplog.text
    assert "recorded again; lost so far: 0 inspections" in caplog.text


def test_what_finds_no_room_is_counted_and_logged(tmp_path, caplog):
    (tmp_path / "inspections.db").mkdir()
    database = Database(f"sqlite:///{tmp_path}/inspections.db")
    recorder = RecordWriter(database, ImageFolder(tmp_path / "inspections"), max_waiting=2)
    for number in range(5):
        recorder.record(inspected(number), image_of(number))
    assert recorder.state().waiting == 2
    assert recorder.state().lost == 3
    assert "inspections lost so far: 1" in caplog.text
    recorder.close()
    assert (recorder.state().waiting, recorder.state().lost) == (0, 5)
    recorder.record(inspected(9), image_of(9))
    assert recorder.state().lost == 6
    assert "inspections lost so far: 5" in caplog.text


@pytest.fixture
def stoppable() -> Iterator[Callable[[], Generator[str]]]:
    """A function that starts a PostgreSQL server, always the same, and returns it: `next` is its address, `close` stops it."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    with_owner(folder)
    create = [
        program("initdb"),
        "-D",
        folder / "data",
        *["-U", "postgres", "-A", "trust", "--locale=C", "--no-sync"],
    ]
    subprocess.run(create, check=True, stdout=subprocess.PIPE, cwd=folder, **as_ordinary_user())
    port = free_port()
    yield lambda: running(program("postgres"), folder / "data", port)
    shutil.rmtree(folder)


def test_a_server_that_stops_and_starts_again_loses_nothing(stoppable, tmp_path):
    server = stoppable()
    url = f"{next(server)}/postgres"
    records = Records(Database(url), ImageFolder(tmp_path / "inspections"))
    records.recorder.record(inspected(0), image_of(0))
    assert records.recorder.flush(LIMIT_S)
    with psycopg.connect(plain(url)) as connection:
        connection.execute("CHECKPOINT")  # the tests' server keeps its last second in memory only
    server.close()
    records.recorder.record(inspected(1), image_of(1))
    wait_until(lambda: records.recorder.state().error is not None)
    records.recorder.record(inspected(2), image_of(2))
    assert records.recorder.state().waiting == 2
    server = stoppable()
    next(server)
    assert records.recorder.flush(LIMIT_S)
    assert ids(records) == [f"{number:08}" for number in (2, 1, 0)]
    records.close()
    server.close()


def test_on_a_full_disk_nothing_is_written_half(tmp_path):
    """A process that may write no file above 200 kB meets what a full disk is, in the image as well as in the database."""
    code = """
import logging, resource, sys
from pathlib import Path
from recorded import image_of, inspected
from defect_detection.records.database import Database
from defect_detection.records.image_store import ImageFolder
from defect_detection.records.record_store import Records

root = Path(sys.argv[1])
records = Records(Database(f"sqlite:///{root}/inspections.db"), ImageFolder(root / "inspections"))
records.recorder.record(inspected(0), image_of(0))
assert records.recorder.flush(600)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
records.recorder.record(inspected(1, image_of(1, 300_000)), image_of(1, 300_000))
assert records.recorder.flush(600)
print(records.recorder.state().images_lost, records.recorder.state().error)
for number in range(2, 3000):
    records.recorder.record(inspected(number, image_of(1), name="x" * 500), image_of(1))
records.recorder.close(timeout_s=600)
state = records.recorder.state()
print(state.written + state.lost, state.written, state.error)
"""
    environment = {"PYTHONPATH": f"{Path(__file__).parents[1]}:{Path(__file__).parents[2] / 'src'}"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = done.stdout.splitlines()
    assert first == f"1 {tmp_path}/inspections: images cannot be written: File too large"
    total, written, error = second.split(" ", 2)
    assert (int(total), error.startswith(f"{tmp_path}/inspections.db: ")) == (3000, True), second
    assert 0 < int(written) < 3000
    assert "inspections lost so far" in done.stderr
    records = Records(Database(f"sqlite:///{tmp_path}/inspections.db"), ImageFolder(tmp_path / "inspections"))
    with records.database.reading() as session:
        assert session.connection().exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        assert session.connection().exec_driver_sql("SELECT count(*) FROM inspections").scalar() == int(
            written
        )
    images = [path for path in records.images.folder.rglob("*") if path.is_file() and path.name != ".lock"]
    assert sorted(path.read_bytes() for path in images) == [image_of(0), image_of(1)]


def test_an_image_that_cant_be_written_is_counted_and_the_inspection_is_kept(on_sqlite, tmp_path):
    (tmp_path / "inspections").mkdir()
    one = inspected(1)
    (tmp_path / "inspections" / one.sha256[:2]).write_text("in the way of the folder")
    on_sqlite.recorder.record(one, image_of(1))
    other = next(number for number in range(2, 9) if inspected(number).sha256[:2] != one.sha256[:2])
    on_sqlite.recorder.record(inspected(other), image_of(other))
    assert on_sqlite.recorder.flush(LIMIT_S)
    found = {
        r.inspected.id: r.image_suffix for r in find_page(on_sqlite.database, Filter(), None, 9).inspections
    }
    assert found == {one.id: None, f"{other:08}": ".png"}
    state = on_sqlite.recorder.state()
    assert (state.written, state.lost, state.images_lost) == (2, 0, 1)


def test_one_inspection_that_cant_be_recorded_takes_no_other_with_it(records):
    for number, score in enumerate([0.1, math.nan, 0.2]):
        facts = {"model_name": "x" * 300} if math.isnan(score) else {}
        records.recorder.record(inspected(number, score=score, **facts), image_of(number))
    assert records.recorder.flush(LIMIT_S)
    assert ids(records) == [f"{2:08}", f"{0:08}"]
    assert (records.recorder.state().written, records.recorder.state().lost) == (2, 1)


def test_feedback_that_cant_be_written_is_an_error_and_nothing_is_kept(on_sqlite, tmp_path):
    on_sqlite.recorder.record(inspected(1), image_of(1))
    assert on_sqlite.recorder.flush(LIMIT_S)
    on_sqlite.database.close()
    file = tmp_path / "inspections.db"
    file.rename(tmp_path / "away.db")
    file.mkdir()
    with pytest.raises(RecordsError, match="unable to open database file"):
        add_feedback(on_sqlite.database, f"{1:08}", "ok", "this machine")
    file.rmdir()
    (tmp_path / "away.db").rename(file)
    assert find_page(on_sqlite.database, Filter(), None, 9).inspections[0].said == ()
