"""Background retrainings: queued, followed, cancelled, and recovered after a server died."""

import json
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from textwrap import dedent

import pytest
from forked import python
from recorded import image_of, inspected
from test_retrain import WAIT_FOR_FILE, is_running
from waiting import LIMIT_S, wait_until

from benchmarks.ports import free_port
from defect_detection.config import load_config
from defect_detection.errors import BusyError, ConfigError
from defect_detection.records.database import Database
from defect_detection.records.job_logs import end_of_log, log_file_of
from defect_detection.records.jobs import (
    LEASE_S,
    LOOK_COUNTS_S,
    Leases,
    beat,
    claim_job,
    create_job,
    end_job,
    fail_orphans,
    find_job,
    list_jobs,
    request_cancel,
)
from defect_detection.records.retention import prune_jobs
from defect_detection.serving import worker
from defect_detection.serving.app import create_app
from defect_detection.serving.services import services_of
from defect_detection.use_cases.products import archive_product, create_product

ASYNC = {"Prefer": "respond-async"}


@pytest.fixture
def app(project):
    app = create_app(project.config())
    yield app
    services_of(app).worker.stop()
    services_of(app).records.close()


@pytest.fixture
def client(app):
    services_of(app).worker.start()
    return app.test_client()


def state_of(client, location: str) -> str:
    return client.get(location).json["state"]


def ended(client, location: str) -> dict[str, object]:
    wait_until(lambda: state_of(client, location) not in ("queued", "running"))
    return client.get(location).json


def events(text: str) -> list[tuple[str, str]]:
    """Return the (id, data) of the events with an id."""
    return re.findall(r"id: (\d+)\ndata: (.*)\n\n", text)


def says(outcome: str) -> str:
    """Return what a script runs to tell its decision."""
    return f"print({json.dumps({'text': 'It is decided', 'outcome': outcome})!r})"


def test_an_asynchronous_retraining_is_accepted_and_followed_to_its_end(client, project):
    project.script(f"print('training'); {says('promote')}")
    answer = client.post("/retrain", headers={"Prefer": "wait=10, respond-async"})
    assert answer.status_code == 202
    location = answer.headers["Location"]
    assert location == f"/jobs/{answer.json['id']}"
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert answer.json["state"] == "queued"
    job = ended(client, location)
    assert (job["state"], job["exit_code"], job["outcome"], job["reason"]) == (
        "succeeded",
        0,
        "promote",
        None,
    )
    assert job["by"] == "this machine"
    assert job["created_at"] <= job["started_at"] <= job["ended_at"]
    assert [one["id"] for one in client.get("/jobs").json["jobs"]] == [job["id"]]
    log = client.get(job["log"]).text
    assert events(log)[0][1] == "training"
    assert log.endswith('data: {"state": "succeeded", "reason": null}\n\n')


@pytest.mark.parametrize(
    ("script", "state", "outcome"),
    [
        (f"{says('hold')}; raise SystemExit(1)", "succeeded", "hold"),
        (f"{says('insufficient evidence')}; raise SystemExit(2)", "succeeded", "insufficient evidence"),
        ("raise SystemExit(1)", "failed", None),
        ("print('Outcome: HOLD. It stays'); raise SystemExit(1)", "failed", None),
        (f"{says('hold')}; raise SystemExit(3)", "failed", "hold"),
        ("raise ZeroDivisionError('why')", "failed", None),
    ],
)
def test_a_decision_is_a_success_and_an_error_is_none(client, project, script, state, outcome):
    project.script(script)
    job = ended(client, client.post("/retrain", headers=ASYNC).headers["Location"])
    assert (job["state"], job["outcome"]) == (state, outcome)
    assert (job["reason"] is None) == (state == "succeeded")
    if "why" in script:
        assert job["reason"].endswith("ended with exit code 1: ZeroDivisionError: why")


TOLD = """
import json, os
told = json.loads(os.environ["DEFECT_SERVER_SETTINGS"])["overrides"]
print(json.dumps({"text": "It is decided", "outcome": "passed", "reason": str(told), "images": 60}))
raise SystemExit(1)
"""


def test_a_training_of_the_page_waits_for_a_person_and_later_ones_are_estimated_from_it(client, project):
    assert client.get("/training").json["basis"] is None
    for split, count in (("train", 4), ("test", 2)):
        folder = project.root / "data" / split / "ok"
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number}.png").touch()
    first = client.get("/training").json
    assert (first["train_images"], first["test_images"]) == (4, 2)
    assert 0 < first["low_s"] < first["high_s"]
    assert "measured on two processors" in first["basis"]
    project.script(TOLD)
    job = ended(client, client.post("/retrain?promote=false", headers=ASYNC).headers["Location"])
    assert (job["state"], job["outcome"], job["promotes"], job["images"]) == (
        "succeeded",
        "passed",
        False,
        60,
    )
    assert "evaluation.gate.promote_at_once=false" in client.get(job["log"]).text
    assert client.get("/training").json["basis"] == "the last training of this product, with 60 images"
    job = ended(client, client.post("/retrain", headers=ASYNC).headers["Location"])
    assert (job["promotes"], job["start_from"]) == (True, None)
    assert "promote_at_once" not in client.get(job["log"]).text


def test_a_training_starts_where_whoever_asked_chose(client, project):
    project.script("import sys; print(sys.argv[1:])")
    for asked, arguments in ((None, []), ("scratch", ["--start-from", "scratch"])):
        query = {} if asked is None else {"start_from": asked}
        job = ended(client, client.post("/retrain", query_string=query, headers=ASYNC).headers["Location"])
        assert job["start_from"] == asked
        assert str(arguments) in client.get(job["log"]).text
        assert json.loads(client.post("/retrain", query_string=query).data)["stdout"] == f"{arguments}\n"
    assert client.post("/retrain?start_from=nowhere").status_code == 422


def test_the_choice_of_the_page_begins_with_what_the_settings_say(client, project):
    for split in ("train", "test"):
        (project.root / "data" / split / "ok").mkdir(parents=True)
        (project.root / "data" / split / "ok/1.png").touch()
    file = project.root / "re_train/re_train.yaml"
    file.parent.mkdir(exist_ok=True)
    for text, start in (
        ("start_from: scratch\n", "scratch"),
        ("{}\n", "registry"),
        ("start_from: [\n", None),
    ):
        file.write_text(text)
        assert client.get("/training").json["start_from"] == start


def test_the_training_of_an_archived_product_ends_and_the_one_that_waits_fails(client, project):
    plant = project.config()
    places = [create_product(plant, name) for name in ("bolt", "nut")]
    for place in places:
        (place / "re_train/re_train.py").write_text(dedent(WAIT_FOR_FILE))
    running, waiting = (
        client.post(f"/retrain?product={place.name}&promote=false", headers=ASYNC).headers["Location"]
        for place in places
    )
    wait_until((places[0] / "started").exists)
    archive_product(plant, "nut")
    archive_product(plant, "bolt")
    for location, reason in ((running, "its product was archived"), (waiting, "product 'nut' is archived")):
        job = ended(client, location)
        assert (job["state"], reason in job["reason"]) == ("failed", True), job
    refused = client.post("/retrain?product=nut", headers=ASYNC)
    assert (refused.status_code, "is archived" in refused.json["detail"]) == (404, True)


def test_one_runs_one_waits_and_a_third_is_refused(client, project):
    project.script(WAIT_FOR_FILE)
    first = client.post("/retrain", headers=ASYNC).headers["Location"]
    wait_until((project.root / "started").exists)
    assert client.post("/retrain").status_code == 409, "who waits for the end can't wait for his turn"
    second = client.post("/retrain", headers=ASYNC).headers["Location"]
    refused = client.post("/retrain", headers=ASYNC)
    assert (refused.status_code, second in refused.json["detail"]) == (409, True)
    assert (state_of(client, first), state_of(client, second)) == ("running", "queued")
    (project.root / "go").touch()
    assert [ended(client, one)["state"] for one in (first, second)] == ["succeeded", "succeeded"]


def test_labels_that_nothing_learns_from_are_no_reason_to_retrain(project):
    config = project.config("jobs.retrain_after_labels=50", "data.feedback_dir=null")
    with pytest.raises(
        ConfigError, match=r"jobs\.retrain_after_labels: 50 labels .* data\.feedback_dir is null"
    ):
        create_app(config)


def test_a_job_that_cant_be_run_has_failed_with_the_reason(client, project):
    (project.root / "jobs").write_text("in the way of the folder of logs")
    job = ended(client, client.post("/retrain", headers=ASYNC).headers["Location"])
    assert (job["state"], job["exit_code"]) == ("failed", None)
    assert job["reason"].startswith("it could not be run: FileExistsError")


def test_a_server_starts_without_its_database_and_runs_jobs_once_it_is_there(project):
    project.script("print('done')")
    (project.root / "inspections.db").mkdir()
    server = Server(project.root, python())
    assert server.send("GET", "/health/live")[0] == 200
    assert server.send("POST", "/retrain")[0] == 503, "it is a job, whoever waits for it"
    assert server.send("POST", "/retrain", **ASYNC)[0] == 503
    (project.root / "inspections.db").rmdir()
    status, job = server.send("POST", "/retrain", **ASYNC)
    assert status == 202
    wait_until(lambda: server.send("GET", f"/jobs/{job['id']}")[1]["state"] == "succeeded")
    server.end(signal.SIGTERM)


def test_cancelling_ends_all_that_the_job_started(client, project):
    project.script("""
        import pathlib, signal, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        pathlib.Path("pids").write_text(str(child.pid))
        pathlib.Path("started").touch()
        time.sleep(3600)
    """)
    location = client.post("/retrain", headers=ASYNC).headers["Location"]
    wait_until((project.root / "started").exists)
    assert client.post(f"{location}/cancel").status_code == 200
    job = ended(client, location)
    assert (job["state"], job["reason"]) == ("cancelled", "cancelled by this machine")
    wait_until(lambda: not is_running(int((project.root / "pids").read_text())))
    assert client.post(f"{location}/cancel").json["state"] == "cancelled"


def test_a_job_that_waits_is_cancelled_at_once_and_never_runs(app, project):
    project.script("import pathlib; pathlib.Path('ran').touch()")
    client = app.test_client()
    location = client.post("/retrain", headers=ASYNC).headers["Location"]
    assert client.post(f"{location}/cancel").json["state"] == "cancelled"
    services_of(app).worker.start()
    other = client.post("/retrain", headers=ASYNC).headers["Location"]
    (project.root / "ran").unlink(missing_ok=True)
    assert ended(client, other)["state"] == "succeeded"
    assert state_of(client, location) == "cancelled"


def test_a_log_is_followed_as_it_grows_and_resumed_where_it_was_left(project, serving):
    project.script("""
        import pathlib, sys, time
        print("first")
        print("second", file=sys.stderr)
        while not pathlib.Path("go").exists():
            time.sleep(0.01)
        print("thïrd", end="")
    """)
    app = create_app(project.config())
    services_of(app).worker.start()
    location = app.test_client().post("/retrain", headers=ASYNC).headers["Location"]
    stream = app.test_client().get(f"{location}/log", buffered=False)
    text = ""
    for chunk in stream.response:
        text += chunk.decode() if isinstance(chunk, bytes) else chunk
        if len(events(text)) == 2:
            (project.root / "go").touch()
    stream.close()
    assert [data for _, data in events(text)] == ["first", "second", "thïrd", events(text)[-1][1]][
        : len(events(text))
    ]
    place = events(text)[1][0]
    resumed = app.test_client().get(f"{location}/log", headers={"Last-Event-ID": place}).text
    assert "first" not in resumed and "second" not in resumed
    assert "data: thïrd\n" in resumed
    assert "event: end\n" in resumed
    services_of(app).worker.stop()
    services_of(app).records.close()


def test_more_readers_than_places_are_refused_until_one_goes(client, project):
    project.script(WAIT_FOR_FILE)
    location = client.post("/retrain", headers=ASYNC).headers["Location"]
    readers = [client.get(f"{location}/log", buffered=False) for _ in range(3)]
    assert client.get(f"{location}/log").status_code == 503
    readers[0].close()
    again = client.get(f"{location}/log", buffered=False)
    assert again.status_code == 200
    for reader in (*readers[1:], again):
        reader.close()
    (project.root / "go").touch()


@pytest.mark.parametrize("path", ["/jobs/nothing", "/jobs/nothing/log"])
def test_an_unknown_job_is_not_found(client, path):
    assert (client.get(path).status_code, client.post("/jobs/nothing/cancel").status_code) == (404, 404)


def test_others_need_a_key_for_jobs(client):
    remote = {"REMOTE_ADDR": "192.0.2.7"}
    assert client.get("/jobs", environ_overrides=remote).status_code == 403
    assert client.post("/retrain", headers=ASYNC, environ_overrides=remote).status_code == 403


def test_enough_labels_start_a_retraining_by_themselves(project):
    project.script("print('done')")
    app = create_app(project.config("jobs.retrain_after_labels=2"))
    client, records = app.test_client(), services_of(app).records
    for number in range(4):
        records.recorder.record(inspected(number), image_of(number))

    def label(number: int) -> list[str]:
        body = {"inspection_id": f"{number:08}", "label": "ok"}
        assert client.post("/feedback", json=body).status_code == 201
        return [job["by"] for job in client.get("/jobs").json["jobs"]]

    assert label(0) == []
    assert label(0) == [], "the same image again is no further one"
    assert label(1) == ["enough new labels"]
    assert label(2) == ["enough new labels"], "one waits already"
    services_of(app).worker.start()
    wait_until(lambda: client.get("/jobs").json["jobs"][0]["state"] == "succeeded")
    assert label(3) == ["enough new labels"] * 2, "two since the first was asked for"
    services_of(app).worker.stop()
    records.close()


SERVE = """
import sys
from pathlib import Path
from defect_detection.config import load_config
from defect_detection.serving.app import serve
serve(load_config(Path("config.yaml"), ["serving.host=127.0.0.1", f"serving.port={sys.argv[1]}"]))
"""


class Server:
    """A server in a process of its own. One that is to be killed is started by Python itself, so that nothing ends with it."""

    def __init__(self, root: Path, program: str) -> None:
        self.port = free_port()
        command = [program, "-c", SERVE, str(self.port)]
        self.process = subprocess.Popen(
            command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self.answers)

    def answers(self) -> bool:
        assert self.process.poll() is None
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def send(self, method: str, path: str, **headers: str) -> tuple[int, dict]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        try:
            connection.request(method, path, None, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def end(self, number: int) -> None:
        self.process.send_signal(number)
        self.process.wait(LIMIT_S)


def test_after_the_server_was_killed_its_job_has_failed_its_child_is_gone_and_the_next_runs(project):
    """Whether the job was queued, or its caller waited for it."""
    project.script("""
        import os, pathlib, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
        pathlib.Path("pids.new").write_text(f"{os.getpid()} {child.pid}")
        pathlib.Path("pids.new").rename("pids")
        from filelock import FileLock
        with FileLock(".retrain.lock", blocking=False):
            time.sleep(3600)
    """)
    server = Server(project.root, sys.executable)
    _, job = server.send("POST", "/retrain", **ASYNC)
    wait_until((project.root / "pids").exists)
    pids = [int(pid) for pid in (project.root / "pids").read_text().split()]
    server.end(signal.SIGKILL)
    assert all(is_running(pid) for pid in pids), "a killed server can't end its children"
    project.script(says("hold"))
    server = Server(project.root, sys.executable)
    wait_until(lambda: server.send("GET", f"/jobs/{job['id']}")[1]["state"] == "failed")
    _, job = server.send("GET", f"/jobs/{job['id']}")
    assert job["reason"] == (
        "the process that ran it died (killed or crashed); its retraining was still running and was ended"
    )
    wait_until(lambda: not any(is_running(pid) for pid in pids))
    status, following = server.send("POST", "/retrain", **ASYNC)
    assert status == 202
    wait_until(lambda: server.send("GET", f"/jobs/{following['id']}")[1]["state"] == "succeeded")

    project.script("""
        import os, pathlib, time
        pathlib.Path("pid.new").write_text(str(os.getpid()))
        pathlib.Path("pid.new").rename("pid")
        time.sleep(3600)
    """)
    connection = HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)
    connection.request("POST", "/retrain")  # a caller who waits
    wait_until((project.root / "pid").exists)
    pid = int((project.root / "pid").read_text())
    server.end(signal.SIGKILL)
    connection.close()
    assert is_running(pid)
    server = Server(project.root, python())
    wait_until(lambda: server.send("GET", "/jobs")[1]["jobs"][0]["state"] == "failed")
    wait_until(lambda: not is_running(pid))
    server.end(signal.SIGTERM)


def test_jobs_are_pruned_with_their_logs(client, app, project):
    project.script("print('done')")
    location = client.post("/retrain", headers=ASYNC).headers["Location"]
    job = ended(client, location)
    database = services_of(app).records.database
    assert end_of_log(database, job["id"], 100) == "done\n"
    wait_until(lambda: not log_file_of(project.root, job["id"]).exists())  # just after the end of the job
    assert prune_jobs(database, project.root, 1) == 0
    assert prune_jobs(database, project.root, 1, datetime.now(UTC) + timedelta(days=2)) == 1
    assert end_of_log(database, job["id"], 100) == ""
    assert client.get(location).status_code == 404


def test_a_worker_says_once_that_its_database_cannot_be_used_and_goes_on_when_it_can(
    project, monkeypatch, caplog
):
    monkeypatch.setattr(worker, "LOOK_EVERY_S", 0.01)
    looks = []
    cleaned = worker.fail_orphans
    monkeypatch.setattr(worker, "fail_orphans", lambda *given: (looks.append(1), cleaned(*given))[1])
    (project.root / "inspections.db").mkdir()

    def until() -> None:
        wait_until(lambda: len(looks) > 3)
        assert caplog.text.count("no job can be run") == 1
        (project.root / "inspections.db").rmdir()
        wait_until((project.root / "inspections.db").is_file)

    worker.run_worker(project.config(), until)


def test_a_worker_apart_runs_what_the_server_queues_and_ends_its_job_when_it_is_stopped(project):
    project.script(WAIT_FOR_FILE)
    app = create_app(project.config())
    client = app.test_client()
    location = client.post("/retrain", headers=ASYNC).headers["Location"]
    command = [python(), "-m", "defect_detection.cli", "worker"]
    with subprocess.Popen(command, cwd=project.root, stderr=subprocess.DEVNULL) as worker:
        wait_until((project.root / "started").exists)
        assert state_of(client, location) == "running"
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(LIMIT_S) == 0
    job = client.get(location).json
    assert (job["state"], job["reason"]) == ("failed", "the server was stopped, which ended the retraining")
    services_of(app).records.close()


@pytest.fixture
def other(project, tmp_path_factory, monkeypatch):
    """A server with a folder of its own, which only queues retrainings in the database of the project."""
    folder = tmp_path_factory.mktemp("other")
    (folder / "config.yaml").write_text("jobs: {run_in_server: false}\n")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{project.root}/inspections.db")
    app = create_app(load_config(folder / "config.yaml"))
    yield app.test_client()
    services_of(app).records.close()
    assert [path.name for path in folder.iterdir()] == ["config.yaml"]


def test_a_server_that_shares_the_database_alone_waits_for_the_worker_and_shows_its_log(
    client, other, project
):
    project.script("""
        from defect_detection.processes.messages import decision, write
        print("training")
        write(decision("hold", "not better"))
        raise SystemExit(1)
    """)
    answer = other.post("/retrain").json
    assert (answer["status"], answer["outcome"], answer["stdout"].splitlines()[0]) == (
        "success",
        "HOLD",
        "training",
    )
    followed = [client.get(f"/jobs/{answer['job']}/log").text for client in (client, other)]
    assert followed[0] == followed[1]
    assert events(followed[1])[0][1] == "training"


def test_a_retraining_that_no_worker_takes_is_cancelled(other, monkeypatch):
    monkeypatch.setattr(worker, "TAKEN_S", 0.0)
    answer = other.post("/retrain")
    assert answer.status_code == 500
    assert "start `defect worker`" in answer.json["error_details"]


def test_how_a_job_ended_is_written_once_the_database_is_back(client, app, project, caplog):
    project.script(WAIT_FOR_FILE)
    location = client.post("/retrain", headers=ASYNC).headers["Location"]
    wait_until((project.root / "started").exists)
    database, file = services_of(app).records.database, project.root / "inspections.db"
    with database.writing():  # nobody else writes while it goes
        database.close()
        file.rename(project.root / "away.db")
        file.mkdir()
    (project.root / "go").touch()
    assert client.get(location).status_code == 503
    wait_until(lambda: "the end of a job cannot be recorded yet" in caplog.text)
    file.rmdir()
    (project.root / "away.db").rename(file)
    assert ended(client, location)["state"] == "succeeded"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/jobs.db" if is_sqlite else request.getfixturevalue("postgres_records_url")
    database = Database(url)
    yield database
    database.close()


def test_the_table_of_jobs_is_the_queue_on_both_databases(database):
    assert claim_job(database) is None
    first = create_job(database, "anna")
    assert claim_job(database) == first.id
    assert claim_job(database) is None
    second = create_job(database, "ben")
    assert claim_job(database) is None, "one runs, wherever that is"
    with pytest.raises(BusyError, match=f"/jobs/{first.id}"):
        create_job(database, "carl", runs_here=True)
    assert request_cancel(database, first.id, "ben").cancel_requested
    assert request_cancel(database, second.id, "ben").state == "cancelled"
    assert fail_orphans(database) == [], "its owner, this process, lives"
    end_job(database, first.id, "succeeded", 0, "promote")
    end_job(database, first.id, "failed", 3)
    assert find_job(database, first.id).state == "succeeded", "what has ended stays as it is"
    assert [job.id for job in list_jobs(database, 10)] == [second.id, first.id]


def test_the_product_that_waited_longest_is_retrained_next(database):
    first = create_job(database, "anna", "bolt")
    second = create_job(database, "anna", "nut")
    with pytest.raises(BusyError, match=rf"\(/jobs/{first.id}\) is already queued; wait"):
        create_job(database, "ben", "bolt")
    assert claim_job(database) == first.id
    third = create_job(database, "anna", "bolt")
    with pytest.raises(BusyError, match="is already running"):
        create_job(database, "ben", "pin", runs_here=True)
    end_job(database, first.id, "succeeded", 0, "hold")
    assert claim_job(database) == second.id
    end_job(database, second.id, "succeeded", 0, "hold")
    assert claim_job(database) == third.id
    assert [job.product for job in list_jobs(database, 10, "bolt")] == ["bolt", "bolt"]


def test_of_servers_that_start_a_retraining_at_once_one_does(database):
    def start(_number: int) -> bool:
        try:
            return bool(create_job(database, "anna", runs_here=True))
        except BusyError:
            return False

    assert list_jobs(database, 1) == []  # its tables are there
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(start, range(8))) == 1


def test_of_workers_that_look_at_once_one_takes_a_job_and_none_the_next(database):
    first = create_job(database, "anna", "bolt")
    create_job(database, "ben", "nut")
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda _: claim_job(database), range(8)))
    assert [one for one in claimed if one] == [first.id]


def test_a_process_that_got_the_id_of_a_dead_owner_isnt_taken_for_it(database):
    job = create_job(database, "anna")
    claim_job(database)
    with database.writing() as session:
        session.connection().exec_driver_sql("UPDATE jobs SET owner_started = 'another start'")
    assert fail_orphans(database) == [job.id]
    assert find_job(database, job.id).reason.endswith("its retraining had no running processes")


# -- owners that died elsewhere ---------------------------------------------------------------------------------------


def move_elsewhere(database: Database, host: str) -> None:
    """Have the running job be owned by a process of another machine, or of another container on this one."""
    with database.writing() as session:
        session.connection().exec_driver_sql(f"UPDATE jobs SET owner_host = '{host}', owner_pid = 1")


def look_until(leases: Leases, database: Database, still_s: float) -> list[str]:
    """Look every second for so many seconds, as time would have passed."""
    found = fail_orphans(database, leases)
    for _ in range(round(still_s)):
        leases._looked_at -= 1.0
        found += fail_orphans(database, leases)
    return found


def test_a_job_whose_container_is_gone_fails_when_its_heartbeat_stands_still_and_the_next_runs(database):
    job = create_job(database, "anna")
    claim_job(database)
    move_elsewhere(database, socket.gethostname())  # containers may have the same name
    leases = Leases()
    assert look_until(leases, database, LEASE_S - 10) == []
    beat(database, job.id)
    assert look_until(leases, database, LEASE_S - 10) == [], "it lives: its heartbeat has grown"
    assert look_until(leases, database, 15) == [job.id]
    assert find_job(database, job.id).reason.startswith("no heartbeat from the process that ran it for 45 s")
    following = create_job(database, "ben")
    assert claim_job(database) == following.id


def test_a_living_job_of_another_container_is_not_taken_for_dead_by_its_process_id(database):
    create_job(database, "anna")
    claim_job(database)
    move_elsewhere(database, "another container")
    with database.writing() as session:
        session.connection().exec_driver_sql(
            "UPDATE jobs SET owner_pid = 999999, owner_started = 'never here'"
        )
    assert fail_orphans(database) == []


def test_one_look_after_a_long_sleep_fails_nobody():
    leases = Leases()
    assert leases.silent({"a": 1}, 1000.0) == set()
    assert leases.silent({"a": 1}, 90_000.0) == set(), "the whole machine was asleep, its jobs as well"
    steps = round(LEASE_S / LOOK_COUNTS_S)
    looks = [leases.silent({"a": 1}, 90_000.0 + LOOK_COUNTS_S * step) for step in range(1, steps + 1)]
    assert (looks[0], looks[-1]) == (set(), {"a"})
    assert leases.silent({"a": 2}, 200_000.0) == set()


def test_what_another_took_for_dead_is_ended_and_stays_failed(client, app, project):
    project.script(WAIT_FOR_FILE)
    location = client.post("/retrain", headers=ASYNC).headers["Location"]
    wait_until((project.root / "started").exists)
    database = services_of(app).records.database
    end_job(database, location.rpartition("/")[2], "failed", reason="no heartbeat")
    wait_until(lambda: not services_of(app).retraining.is_running())
    assert ended(client, location)["reason"] == "no heartbeat"


def test_who_waits_for_a_retraining_has_a_job_that_others_see_and_cancel(app, project, serving):
    project.script(f"""
    print("training", flush=True)
    {WAIT_FOR_FILE}
    """)
    send = serving(project.config(), app)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(send, "POST", "/retrain")
        wait_until((project.root / "started").exists)
        (job,) = json.loads(send("GET", "/jobs").body)["jobs"]
        assert (job["state"], job["by"]) == ("running", "this machine")
        assert send("POST", f"/jobs/{job['id']}/cancel").status == 200
        answer = json.loads(waiting.result().body)
    assert (answer["job"], answer["error_details"], answer["stdout"]) == (
        job["id"],
        "it was cancelled",
        "training\n",
    )
    assert json.loads(send("GET", f"/jobs/{job['id']}").body)["state"] == "cancelled"
    assert b"data: training" in send("GET", f"/jobs/{job['id']}/log").body


# -- readers of logs over real connections ----------------------------------------------------------------------------


def test_a_reader_who_leaves_and_comes_back_finds_a_place(app, project, serving):
    project.script(WAIT_FOR_FILE)
    services_of(app).worker.start()
    send = serving(project.config(), app)
    job = json.loads(send("POST", "/retrain", **ASYNC).body)
    wait_until((project.root / "started").exists)
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", send.port), timeout=20) as reader:
            reader.sendall(f"GET {job['log']} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            begin = reader.recv(65536)
        status = int(begin.split()[1])
        if status == 503:  # the one before has gone, and that is noticed within a second or two
            wait_until(lambda: services_of(app).streams._value > 0)
        assert status in (200, 503)
    wait_until(lambda: services_of(app).streams._value == 3)
    (project.root / "go").touch()
