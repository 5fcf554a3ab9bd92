"""The embedded store after its folder was moved, copied or restored elsewhere."""

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from defect_detection.tracking.embedded import ARTIFACTS, Relocation, correct
from defect_detection.tracking.ledger_listing import list_entries
from defect_detection.tracking.reading import versions_of
from defect_detection.tracking.registry import Registry
from defect_detection.tracking.runs import ExperimentRecorder
from defect_detection.tracking.store import connect

# MLflow 3.17 on SQLAlchemy 2.1
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

EXPERIMENT = "inspection"


def uri_of(folder: Path) -> str:
    return f"sqlite:///{folder}/mlflow.db"


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def addresses(folder: Path, part: str) -> list[str]:
    """Return every text in the database that holds `part`."""
    found = []
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for _, column, *_ in database.execute(f"PRAGMA table_info({table})").fetchall():
                rows = database.execute(f"SELECT {column} FROM {table} WHERE instr({column}, ?)", (part,))
                found += [text for (text,) in rows]
    return found


def work(folder: Path, bundle: Path) -> None:
    """Train in the folder: a run with a text, its data and a model that goes into production."""
    with ExperimentRecorder(uri_of(folder), EXPERIMENT).trial("a", {"data": folder / "data/train"}) as record:
        record.text("note.txt", "hello")
        record.dataset("train", "f1", source=str(folder / "data/train"), images=2, defective=1)
        record.tags({"report": (folder / "reports/report.html").as_uri(), "note": f"see {folder}x"})
        uri = record.model(bundle)
    registry = Registry(uri_of(folder))
    version = registry.promote_copy(registry.register(uri, "Defect_CNN"), "Production_Reg")
    registry.set_alias("Production_Reg", "prod", version.version)


def note(folder: Path) -> str:
    """Write a run with a text. Returns its id."""
    with ExperimentRecorder(uri_of(folder), EXPERIMENT).trial("a", {}) as record:
        record.text("note.txt", "hello")
    return record.run_id


@pytest.fixture(scope="module")
def worked_in(tmp_path_factory: pytest.TempPathFactory, make_bundle: Callable[[Path], Path]) -> Path:
    """A folder where `work` was done; for all tests, so change nothing in it."""
    folder = tmp_path_factory.mktemp("template")
    work(folder, make_bundle(folder / "bundle"))
    return folder


@pytest.fixture(params=["line1", "Läger 1 #2 50%"])
def original(request: pytest.FixtureRequest, worked_in: Path, tmp_path: Path) -> Path:
    return settled_copy(worked_in, tmp_path / request.param)


@pytest.fixture
def line1(worked_in: Path, tmp_path: Path) -> Path:
    return settled_copy(worked_in, tmp_path / "line1")


def settled_copy(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    correct(target / "mlflow.db")
    assert addresses(target, str(folder)) == [f"see {folder}x"]
    return target


def assert_at_home(folder: Path, bundle: Path) -> None:
    """Look that the store finds its model in the folder without a cache, and writes there."""
    registry = Registry(uri_of(folder))
    found = registry.version_of("Production_Reg", "prod")
    assert found is not None
    shutil.rmtree(folder / "cache", ignore_errors=True)
    fetched = registry.bundle_of(found, folder / "cache")
    assert digests(fetched).keys() == digests(bundle).keys()
    written = folder / ARTIFACTS / note(folder) / "artifacts/note.txt"
    assert written.read_text() == "hello"
    client = connect(uri_of(folder)).client
    locations = [one.artifact_location for one in client.search_experiments() if one.name == EXPERIMENT]
    assert locations == [(folder / ARTIFACTS).as_uri()]


def test_a_moved_store_finds_its_models_and_writes_where_it_is(original, tmp_path, bundle, caplog):
    moved = original.rename(tmp_path / "neu ü#1")
    assert_at_home(moved, bundle)
    work(moved, bundle)
    assert not original.exists()
    said = [record.message for record in caplog.records if str(original) in record.message]
    assert said == [
        f"The project was moved from {original}: paths of 3 experiments, runs and models were corrected"
    ]
    assert addresses(moved, str(original)) == addresses(moved, original.as_uri()) == []


def test_a_copied_store_is_its_own_and_leaves_the_original_alone(original, tmp_path, bundle):
    before = digests(original)
    copy = Path(shutil.copytree(original, tmp_path / "line2"))
    assert_at_home(copy, bundle)
    assert digests(original) == before
    shutil.rmtree(original)
    assert_at_home(copy, bundle)
    assert not original.exists()


def test_database_and_artifacts_restored_into_another_project_are_enough(line1, tmp_path, bundle):
    fresh = tmp_path / "checkout/line1"
    fresh.mkdir(parents=True)
    shutil.copy(line1 / "mlflow.db", fresh)
    shutil.copytree(line1 / ARTIFACTS, fresh / ARTIFACTS)
    shutil.rmtree(line1)
    assert_at_home(fresh, bundle)


def test_a_reader_sees_corrected_paths_and_changes_nothing(line1, tmp_path):
    copy = Path(shutil.copytree(line1, tmp_path / "line2"))
    before = digests(copy)
    found = Registry(uri_of(copy)).glance("Production_Reg", "prod")
    assert found.location.startswith((copy / ARTIFACTS).as_uri())
    assert [one.reference.location for one in versions_of(uri_of(copy), "Production_Reg")] == [found.location]
    assert list_entries(uri_of(copy)) == []
    assert digests(copy) == before


def test_a_copy_inside_the_original_and_the_original_inside_the_copy(line1, tmp_path, bundle):
    inside = line1 / "backup"
    shutil.copytree(line1, tmp_path / "aside")
    (tmp_path / "aside").rename(inside)
    before = {name: digest for name, digest in digests(line1).items() if not name.startswith("backup")}
    assert_at_home(inside, bundle)
    after = {name: digest for name, digest in digests(line1).items() if not name.startswith("backup")}
    assert after == before
    for name in ("mlflow.db", ARTIFACTS):
        shutil.move(inside / name, tmp_path / name)
    assert_at_home(tmp_path, bundle)
    assert addresses(tmp_path, f"backup/{ARTIFACTS}") == []


def test_a_folder_whose_name_begins_alike_is_another_one(line1, tmp_path, bundle):
    for name in ("line10", "line"):
        copy = Path(shutil.copytree(line1, tmp_path / name))
        before = digests(line1)
        assert_at_home(copy, bundle)
        assert digests(line1) == before


def test_a_store_that_moved_twice_and_returned(line1, tmp_path, bundle):
    for place in ("second", "third", "line1"):
        moved = line1.rename(tmp_path / place)
        assert_at_home(moved, bundle)
        line1 = moved
    assert addresses(line1, "/second/") == addresses(line1, "/third/") == []


def test_a_link_to_the_folder_is_the_same_place(line1, tmp_path, bundle, caplog):
    link = tmp_path / "link"
    link.symlink_to(line1)
    work(link, bundle)
    moved = line1.rename(tmp_path / "new disk")
    line1.symlink_to(moved)
    work(moved, bundle)
    assert [record.message for record in caplog.records if "link" in record.message] == []
    line1.unlink()
    assert_at_home(moved, bundle)
    assert not os.path.lexists(line1)


def test_files_that_were_not_copied_are_still_found_and_new_ones_stay_apart(line1, tmp_path, bundle, caplog):
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(line1 / "mlflow.db", alone)
    before = digests(line1)
    assert_at_home(alone, bundle)
    assert digests(line1) == before
    (said,) = [record.message for record in caplog.records if str(line1) in record.message]
    assert said.endswith("of them exist only there and are read from there")


def test_the_paths_are_corrected_as_a_whole_or_not_at_all(line1, tmp_path):
    moved = line1.rename(tmp_path / "line2")
    before = addresses(moved, "/line1/")
    with closing(sqlite3.connect(moved / "mlflow.db")) as database, database:
        database.execute("CREATE TRIGGER t BEFORE UPDATE ON datasets BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(sqlite3.Error, match="full"):
        correct(moved / "mlflow.db")
    assert addresses(moved, "/line1/") == before


@pytest.mark.parametrize(
    ("old", "address", "expected"),
    [
        ("/C:/Users/me/line 1", "file:///C:/Users/me/line%201/mlartifacts/a", "file:///srv/neu%201/mlartifacts/a"),
        ("/C:/Users/me/line 1", r"C:\Users\me\line 1\data\train", "/srv/neu 1/data/train"),
        ("/C:/Users/me/line 1", r"C:\Users\me\line 10\data", r"C:\Users\me\line 10\data"),
        ("server/share/line1", "file://server/share/line1/mlartifacts", "file:///srv/neu%201/mlartifacts"),
        ("/a b", "file:///a%20b", "file:///srv/neu%201"),
        ("/a%20b", "/a%20b/x", "/srv/neu 1/x"),
        ("/a", "/ab/x", "/ab/x"),
        ("/a", "models:/m-1", "models:/m-1"),
        ("/a", "see /a/x", "see /a/x"),
        ("", "file:///mlartifacts/x", "file:///srv/neu%201/mlartifacts/x"),
        ("", "/data/x", "/data/x"),
    ],
)  # fmt: skip
def test_only_paths_in_the_old_folder_are_corrected_each_in_its_form(old: str, address: str, expected: str):
    assert Relocation([old], Path("/srv/neu 1")).located(address) == expected
