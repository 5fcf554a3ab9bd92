"""A rollback works without disk space, lease, readable ledger or MLflow experiment."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import full_disk
import pytest
from forked import fork
from test_champion import NAME, Plant

from defect_detection.config import Config, load_config
from defect_detection.errors import BundleError, BusyError, NoModelError, TrackingError
from defect_detection.serving.app import create_app
from defect_detection.serving.services import services_of
from defect_detection.tracking.lease import PROMOTIONS, lease
from defect_detection.tracking.ledger import Ledger, withdrawn
from defect_detection.tracking.ledger_listing import list_entries
from defect_detection.use_cases.by_hand import promote, rollback
from defect_detection.use_cases.history import history

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Plant:
    """Three versions that were promoted one after the other."""
    plant = Plant(tmp_path_factory.mktemp("plant") / "store")
    (plant.root / "config.yaml").write_text("training: {hyperparameter_sets: [{name: only}]}\n")
    for threshold in (0.25, 0.5, 0.75):
        promote(config_of(plant), plant.version(threshold=threshold), "by hand")
    return plant


@pytest.fixture
def plant(made, tmp_path) -> Plant:
    """A copy of it, as it was."""
    return made.copy(tmp_path / "plant")


def config_of(plant: Plant) -> Config:
    return load_config(plant.root / "config.yaml")


def served(plant: Plant) -> int:
    return plant.registry.glance(NAME, "prod").version


def sql(plant: Plant, *statements: str) -> None:
    with closing(sqlite3.connect(plant.root / "mlflow.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


REFUSE = "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
NOTHING_NEW = (
    f"CREATE TRIGGER no_ticket BEFORE INSERT ON experiment_tags {REFUSE}",
    f"CREATE TRIGGER no_entry BEFORE INSERT ON runs {REFUSE}",
)


def test_where_nothing_can_be_added_the_alias_moves_and_the_entry_follows_later(plant):
    config = config_of(plant)
    sql(plant, *NOTHING_NEW)
    with pytest.raises(TrackingError, match="is full"):
        promote(config, 1, "no emergency")
    moved = rollback(config)
    assert (moved.before.version, moved.after.version, served(plant)) == (3, 2, 2)
    assert [note.partition(".")[0].partition(" (")[0] for note in moved.notes] == [
        "The lease on production could not be taken",
        "The ledger has no entry for this change",
    ]
    assert rollback(config).after.version == 1, "not to 3 again, from which nobody knows that it was left"
    sql(plant, "DROP TRIGGER no_ticket", "DROP TRIGGER no_entry")
    assert "the ledger says version 3" in history(config).notes[0]
    assert rollback(config, to=1, reason="entered later").notes == ()
    assert history(config).notes == ()
    assert withdrawn(history(config).entries).keys() == {3}
    with pytest.raises(NoModelError, match="already in production"):
        rollback(config, to=1)


def test_without_the_experiment_of_the_ledger_a_version_can_be_named(plant):
    config = config_of(plant)
    experiment = plant.client.get_experiment_by_name(PROMOTIONS).experiment_id
    plant.client.delete_experiment(experiment)
    with pytest.raises(TrackingError, match="'promotions' was deleted"):
        list_entries(plant.uri)
    with pytest.raises(NoModelError, match=r"'promotions' was deleted.*--to VERSION` \(there are 2, 1\)"):
        rollback(config)
    assert served(plant) == 3
    moved = rollback(config, to=1)
    assert (moved.after.version, served(plant)) == (1, 1)
    assert "Run `defect rollback --to 1` to add it" in " ".join(moved.notes)
    plant.client.restore_experiment(experiment)
    rollback(config, to=1)
    assert history(config).notes == ()


DAMAGES = {
    "a later kind": "UPDATE tags SET value = 'shadow' WHERE key = 'ledger.kind'",
    "a later state": "UPDATE tags SET value = 'undone' WHERE key = 'ledger.state'",
    "bytes": "UPDATE tags SET value = X'80ff00' WHERE key = 'ledger.who'",
    "no number": "DELETE FROM tags WHERE key = 'ledger.number'",
    "a long number": f"UPDATE tags SET value = '{'9' * 5000}' WHERE key = 'ledger.number'",
    "JSON cut off": """UPDATE tags SET value = '{"version": ' WHERE key = 'ledger.to'""",
    "nothing left": "DELETE FROM tags WHERE key != 'ledger.number'",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_entry_that_cannot_be_read_is_left_out_with_a_note(plant, damage):
    newest = Ledger(plant.uri).entries()[0]
    statement = DAMAGES[damage]
    sql(plant, f"{statement} {'AND' if 'WHERE' in statement else 'WHERE'} run_uuid = '{newest.run_id}'")
    config = config_of(plant)
    (note,) = [one for one in history(config).notes if "cannot be read" in one]
    assert newest.run_id in note
    assert tuple(one.entry for one in list_entries(plant.uri)) == Ledger(plant.uri).entries_by_mlflow()
    moved = rollback(config)
    assert (moved.after.version, served(plant), moved.notes) == (2, 2, (note,))
    assert history(config).entries[0].after == 2


def test_a_run_without_a_start_is_no_readable_entry(plant):
    newest = Ledger(plant.uri).entries()[0]
    sql(plant, f"UPDATE runs SET start_time = NULL WHERE run_uuid = '{newest.run_id}'")
    assert [one.entry.kind for one in list_entries(plant.uri)].count("unreadable") == 1


def test_a_damaged_ticket_is_removed_and_a_live_one_is_taken_in_the_end(plant):
    experiment = plant.client.get_experiment_by_name(PROMOTIONS).experiment_id
    for name, value in (("a", "{"), ("b", "[]"), ("c", '{"number": "x"}'), ("d", '{"number": null}')):
        plant.client.set_experiment_tag(experiment, f"lease.{name}", value)
    with lease(plant.uri, wait_s=0) as slow:
        with pytest.raises(BusyError), lease(plant.uri, wait_s=0):
            pytest.fail("two hold the lease")
        with lease(plant.uri, wait_s=0, take_over=True) as ticket:
            assert f"process {os.getpid()}" in ticket.taken_from[0]
            with pytest.raises(BusyError, match="lost"):
                slow.check()


def test_what_cannot_be_served_is_refused_and_the_next_one_is_named(plant):
    config = config_of(plant)
    source = Path(plant.client.get_model_version(NAME, "2").source.removeprefix("file://"))
    away = source.rename(source.with_name("away"))
    with pytest.raises(TrackingError, match=r"not found.*still .* version 3.*rollback --to 1`"):
        rollback(config)
    away.rename(source)
    (source / "bundle/model.bin").write_bytes(b"damaged")
    with pytest.raises(BundleError, match=r"was not promoted.*rollback --to 1`"):
        rollback(config)
    assert served(plant) == 3
    assert rollback(config, to=1).after.version == served(plant) == 1


@pytest.mark.usefixtures("forked_children")
def test_the_way_back_over_http_says_what_was_left_out(plant, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", plant.uri)
    sql(plant, *NOTHING_NEW)
    app = create_app(config_of(plant))
    answer = app.test_client().post("/models/rollback", json={"reason": "rejects all"})
    services_of(app).served.stop()
    services_of(app).records.close()
    assert (answer.status_code, answer.json["in_production"]) == (200, 2), answer.json
    assert "Attention: The ledger has no entry for this change" in answer.json["message"]
    assert "Production_Reg version 2 is in production, instead of version 3" in answer.json["message"]


def test_a_full_disk_does_not_keep_the_old_version_away(made, tmp_path):
    child = fork(tmp_path, full_disk.main, tmp_path, made.root)
    code = child.ended()
    if code == 77:
        pytest.skip("this user may not mount a small disk")
    assert code == 0, child.said()
    assert "version 2\nThe lease on production could not be taken" in child.said()
    assert "the ledger says version 3" in child.said()
