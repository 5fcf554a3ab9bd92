import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from forked import python
from other_user import without_a_name
from waiting import LIMIT_S

from defect_detection.errors import TrackingError
from defect_detection.tracking import store
from defect_detection.tracking.runs import ExperimentRecorder
from defect_detection.tracking.store import connect

# MLflow 3.17 on SQLAlchemy 2.1
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

FIRST_START = """
import sys
from defect_detection.tracking.store import connect
found = connect(sys.argv[1], "inspection").experiment_id
from mlflow.telemetry import get_telemetry_client
print(found, get_telemetry_client())
"""


def test_processes_that_start_on_one_new_store_together_share_it_quietly(
    tmp_path: Path, plain_environment: dict[str, str]
):
    command = [python(), "-c", FIRST_START, f"sqlite:///{tmp_path}/new/mlflow.db"]
    together = [
        subprocess.Popen(
            command, env=plain_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    answers = [one.communicate(timeout=LIMIT_S) for one in together]
    assert answers == [("1 None\n", "")] * 2  # the experiment, no telemetry, nothing on the terminal


def test_who_comes_while_another_makes_the_tables_of_a_database_waits(postgres_url: str):
    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(connect, postgres_url, "inspection") for _ in range(2)]
    assert {one.result().experiment_id for one in found} == {"1"}


def test_importing_the_registry_imports_no_mlflow():
    code = "import sys, defect_detection.tracking.registry; print([m for m in sys.modules if 'mlflow' in m])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_embedded_artifacts_lie_beside_the_database(
    tmp_path: Path, embedded_uri: str, name: str, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with ExperimentRecorder(embedded_uri, name).trial("a", {}) as record:
        record.text("note.txt", "hello")
    database = store.sqlite_file(embedded_uri)
    written = list((database.parent / "mlartifacts" / record.run_id).rglob("note.txt"))
    assert [file.read_text() for file in written] == ["hello"]
    assert list(tmp_path.iterdir()) == []


def test_connecting_leaves_the_tracking_uri_of_the_process_alone(embedded_uri: str, name: str, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere.example")
    connect(embedded_uri, name)
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://elsewhere.example"


def test_an_experiment_is_created_once(uri: str, name: str):
    assert connect(uri, name).experiment_id == connect(uri, name).experiment_id


def test_a_deleted_experiment_is_reported_with_its_cure(uri: str, name: str):
    found = connect(uri, name)
    found.client.delete_experiment(found.experiment_id)
    with pytest.raises(TrackingError, match=f"restore --experiment-id {found.experiment_id}"):
        connect(uri, name)


def test_an_unreachable_server_is_reported_without_its_password(closed_port: int):
    with pytest.raises(TrackingError, match="no MLflow server responded") as raised:
        connect(f"http://me:secret@127.0.0.1:{closed_port}", "x")
    assert "secret" not in str(raised.value)


def test_a_server_that_accepts_but_never_answers_is_reported(monkeypatch):
    monkeypatch.setattr(store, "PROBE_TIMEOUT_S", 0.3)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(TrackingError, match="no MLflow server responded"),
    ):
        connect(f"http://127.0.0.1:{silent.getsockname()[1]}")


def test_a_refused_host_name_is_reported_with_its_cure(server_uri: str):
    port = server_uri.rpartition(":")[2]
    with pytest.raises(TrackingError, match="MLFLOW_SERVER_ALLOWED_HOSTS"):
        connect(f"http://localhost:{port}", "x")


def test_a_file_that_is_no_database_is_reported_at_once(tmp_path: Path):
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises(TrackingError, match=r"mlflow\.db: expected a writable SQLite database"):
        connect(f"sqlite:///{tmp_path}/mlflow.db")


def test_a_database_of_another_mlflow_is_reported_with_the_command_that_upgrades_it(
    embedded_uri: str, tmp_path: Path
):
    copy = shutil.copyfile(store.sqlite_file(embedded_uri), tmp_path / "old.db")
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    with pytest.raises(TrackingError, match="mlflow db upgrade"):
        connect(f"sqlite:///{copy}")


def test_a_locked_store_is_left_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "BUSY_S", 0.1)
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(
            TrackingError, match=r"locked.*Another program has the file open.*not damaged"
        ) as raised:
            connect(f"sqlite:///{tmp_path}/mlflow.db", "x")
    assert "Move" not in str(raised.value)


def test_a_user_without_a_home_folder_can_use_the_store_quietly(tmp_path):
    """The process is a new one: importing MLflow for the first time says nothing either."""
    connect(uri := f"sqlite:///{tmp_path}/mlflow.db")
    done = subprocess.run(
        [*without_a_name(), sys.executable, "-c", FIRST_START, uri],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 None\n", "")


def test_a_folder_that_is_not_utf8_is_refused_at_once(tmp_path):
    with pytest.raises(TrackingError, match="Rename the folder"):
        connect(f"sqlite:///{tmp_path}/pr\udcfcf/mlflow.db", "x")
