"""The drill of deploy/ in small: the commands of compose.yaml as processes, under load, while parts of it are killed."""

import shutil
import tempfile
from pathlib import Path

import pytest
from drill import run
from object_storage import juicefs
from parts import Parts
from postgres import program as postgres_program
from test_nginx import program

CLIENTS, PAUSE_S = 4, 0.2  # the pause leaves the processors to what is started meanwhile
SCRIPT = """
import pathlib, time
print("training", flush=True)
while not pathlib.Path("after").exists():
    time.sleep(0.1)
"""


@pytest.fixture
def parts(promoted, forked_children):
    """The processes. Servers and worker are forked, to start at once; `make drill` starts them as compose.yaml does."""
    for name in ("initdb", "psql"):
        postgres_program(name)
    for name in ("nginx", "openssl"):
        program(name)
    juicefs()
    (promoted.root / "re_train").mkdir(exist_ok=True)
    (promoted.root / "re_train" / "re_train.py").write_text(SCRIPT)
    folder = Path(tempfile.mkdtemp(prefix="drill-"))  # tmp_path can't be entered by another user
    folder.chmod(0o755)
    parts = Parts(folder, promoted.root, promoted.config().tracking_uri)
    yield parts
    parts.end_all()
    shutil.rmtree(folder)


def test_nothing_is_lost_when_a_server_the_worker_and_the_database_die_under_load(parts, promoted):
    image = next((promoted.root / "data" / "test").rglob("*.png")).read_bytes()
    promoted.make()  # another version, which only the drill promotes
    parts.start_stores()
    drill, losses = run(parts, image, "Defect_CNN", CLIENTS, PAUSE_S)
    assert [one for one in drill.load.failed if one not in drill.cut_off] == []
    assert len(drill.cut_off) <= CLIENTS  # each has one request under way
    assert set(losses.values()) == {0}, losses
    states = [parts.ask("server-1", "GET", f"/jobs/{job}", drill.key)["state"] for job in drill.jobs]
    assert states == ["failed", "succeeded"]
    assert len(drill.load.stored) > 20
