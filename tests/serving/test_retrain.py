"""``POST /retrain`` over a real server, with real processes."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from waiting import LIMIT_S, wait_until

from defect_detection.config import load_config
from defect_detection.processes.ending import NICENESS
from defect_detection.serving.job_process import MAX_OUTPUT_BYTES, Retraining, RetrainingOutcome

WAIT_FOR_FILE = """
    import pathlib, time
    pathlib.Path("started").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.01)
    """


def is_running(pid: int) -> bool:
    """A zombie that nobody has reaped yet doesn't run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def stop_once_started(retraining: Retraining, root: Path) -> RetrainingOutcome:
    with ThreadPoolExecutor() as pool:
        running = pool.submit(retraining.run)
        wait_until((root / "started").exists)
        retraining.stop()
        return running.result()


def test_success_carries_what_the_script_wrote(project, serving):
    project.script("""
        import pathlib, sys
        print("promoted", pathlib.Path.cwd().name)
        print("a line of the log", file=sys.stderr)
    """)
    answer = serving(project.config())("POST", "/retrain")
    body = json.loads(answer.body)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert body.keys() == {"status", "message", "outcome", "reason", "model", "job", "stdout", "stderr"}
    assert (body["status"], body["message"]) == ("success", "Model retraining initiated successfully.")
    assert body["stdout"] == f"promoted {project.root.name}\n"
    assert body["stderr"] == "a line of the log\n"


def test_failure_carries_the_reason_and_what_the_script_wrote(project, serving):
    project.script("""
        print("loading")
        raise SystemExit("Testing_Reg has no version")
    """)
    answer = serving(project.config())("POST", "/retrain")
    body = json.loads(answer.body)
    assert answer.status == 500
    assert body.keys() >= {
        "status",
        "message",
        "error_details",
        "outcome",
        "reason",
        "model",
        "stdout",
        "stderr",
    }
    assert (body["status"], body["stdout"]) == ("error", "loading\n")
    assert body["message"] == "Error during model retraining."
    assert body["error_details"] == "re_train/re_train.py ended with exit code 1: Testing_Reg has no version"


def test_a_retraining_leaves_the_processor_to_the_server(project):
    """Its niceness, and that of its session where Linux schedules by sessions, are higher than the server's."""
    project.script(
        WAIT_FOR_FILE
        + """
    import os
    session = pathlib.Path("/proc/self/autogroup")
    print(os.getpriority(os.PRIO_PROCESS, 0), session.read_text() if session.exists() else "")
    """
    )
    retraining = Retraining(project.root, timeout_s=LIMIT_S)
    with ThreadPoolExecutor() as pool:
        running = pool.submit(retraining.run)
        wait_until((project.root / "started").exists)
        (project.root / "go").touch()
        niceness, _, session = running.result().stdout.strip().partition(" ")
    lower = min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
    assert int(niceness) == lower
    assert session == "" or session.endswith(f"nice {lower}")


@pytest.mark.parametrize(("code", "outcome"), [(1, "HOLD"), (2, "INSUFFICIENT EVIDENCE")])
def test_a_model_that_is_not_promoted_is_no_failure(project, serving, code, outcome):
    project.script(f"""
        from defect_detection.processes.messages import decision, write
        write(decision("{outcome.lower()}", "Production_Reg version 1 stays in production"))
        raise SystemExit({code})
    """)
    answer = serving(project.config())("POST", "/retrain")
    body = json.loads(answer.body)
    assert (answer.status, body["status"]) == (200, "success")
    assert (body["outcome"], body["model"]) == (outcome, None)
    assert body["reason"] == "Production_Reg version 1 stays in production"
    assert body["stdout"] == f"Outcome: {outcome}. Production_Reg version 1 stays in production\n"


def test_what_came_out_of_a_retraining_stands_in_its_answer(project, serving):
    project.script("""
        from defect_detection.processes.messages import Message, decision, reason, write
        write(reason("validation", "better"))
        write(Message("Kept as Defect_CNN version 7", "test", model="Defect_CNN version 7"))
        write(reason("test", "the higher accuracy")); write(reason("test", "no more escapes"))
        write(decision("promote", "Production_Reg version 4 is in production now", "Production_Reg version 4"))
        print("On test: what a library says. Outcome: HOLD.")
        print('Outcome: HOLD. Another text')
    """)
    body = json.loads(serving(project.config())("POST", "/retrain").body)
    assert (body["outcome"], body["model"]) == ("PROMOTE", "Production_Reg version 4")
    assert body["reason"] == "the higher accuracy; no more escapes"
    assert body["stdout"].splitlines()[-3:-1] == [
        "Outcome: PROMOTE. Production_Reg version 4 is in production now",
        "On test: what a library says. Outcome: HOLD.",
    ]


def test_an_error_of_several_lines_reaches_the_caller_whole(project, serving, monkeypatch):
    monkeypatch.setenv(
        "TMPDIR", str(project.root)
    )  # what killed processes left elsewhere is none of this test's
    project.script("""
        from defect_detection.cli import main
        raise SystemExit(main(["retrain", "-s", "seed=-1", "-s", "training.epochs=0"]))
    """)
    body = json.loads(serving(project.config())("POST", "/retrain").body)
    assert body["error_details"].startswith("re_train/re_train.py ended with exit code 3: override: seed: ")
    assert "; override: training.epochs: " in body["error_details"]
    assert "\n" not in body["error_details"]
    assert body["stderr"].startswith("Error: override: seed:")


SHOW_SETTINGS = """
    import pathlib
    from defect_detection.config import load_config
    config = load_config(pathlib.Path("config.yaml"), ["seed=1"])
    print(config.mlflow.experiment_name, config.seed, config.serving.api_key.get_secret_value())
"""


@pytest.mark.parametrize("file", ["config.yaml", "line-2.yaml"])
def test_a_retraining_has_the_file_and_the_overrides_of_its_server(project, serving, file):
    """Also where the script names another file, or other values; and no secret stands on a command line."""
    (project.root / file).write_text(
        "mlflow: {experiment_name: of the file}\ntraining: {hyperparameter_sets: [{name: only}]}\n"
    )
    (project.root / "other.yaml").write_text("")
    project.script(SHOW_SETTINGS + "    print(pathlib.Path('/proc/self/cmdline').read_bytes())")
    overrides = ["serving.api_key=a key of sixteen characters", "seed=7"]
    config = load_config(project.root / file, overrides)
    body = json.loads(
        serving(config)("POST", "/retrain", **{"X-API-Key": "a key of sixteen characters"}).body
    )
    assert body["stdout"].startswith("of the file 7 a key of sixteen characters\n")
    assert "sixteen" not in body["stdout"].splitlines()[1]


@pytest.mark.parametrize("code", [1, 2, 3])
def test_an_exit_code_of_the_gate_without_an_outcome_is_a_failure(project, serving, code):
    """Python ends with 1 after any error that nobody caught."""
    project.script(f"print('loading'); raise SystemExit({code})")
    assert serving(project.config())("POST", "/retrain").status == 500


def test_a_process_that_dies_of_a_signal_is_a_failure_that_names_it(project, serving):
    project.script("import os; os.kill(os.getpid(), 9)")
    body = json.loads(serving(project.config())("POST", "/retrain").body)
    assert body["error_details"] == "re_train/re_train.py was ended by SIGKILL"


def test_a_second_retraining_is_refused_while_one_runs_and_other_requests_are_answered(project, serving):
    project.script(WAIT_FOR_FILE)
    send = serving(project.config())
    with ThreadPoolExecutor() as pool:
        first = pool.submit(send, "POST", "/retrain")
        wait_until((project.root / "started").exists)
        second, live = send("POST", "/retrain"), send("GET", "/health/live")
        (project.root / "go").touch()
        assert first.result().status == 200
    assert (second.status, second.headers["Content-Type"]) == (409, "application/problem+json")
    assert "running" in json.loads(second.body)["detail"]
    assert live.status == 200
    assert send("POST", "/retrain").status == 200


def test_a_retraining_that_another_process_runs_is_respected(project, serving):
    project.script("print('done')")
    lock_file = str(project.root / ".retrain.lock")
    hold = f"from filelock import FileLock; lock = FileLock({lock_file!r}); lock.acquire(); "
    command = [sys.executable, "-c", hold + "print('held', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        send = serving(project.config())
        assert send("POST", "/retrain").status == 409
        other.communicate(b"enough\n")
    assert send("POST", "/retrain").status == 200


def test_the_script_can_take_the_lock_itself(project, serving):
    project.script("""
        from filelock import FileLock
        with FileLock(".retrain.lock", blocking=False):
            print("alone")
    """)
    assert json.loads(serving(project.config())("POST", "/retrain").body)["stdout"] == "alone\n"


def test_after_the_timeout_the_script_is_ended(project, serving):
    project.script("import time; time.sleep(3600)")
    body = json.loads(serving(project.config("serving.retrain_timeout_s=0.5"))("POST", "/retrain").body)
    assert "took longer than 0.5 s (serving.retrain_timeout_s)" in body["error_details"]


def test_everything_that_the_script_started_ends_with_it(project):
    project.script("""
        import pathlib, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        pathlib.Path("child").write_text(str(child.pid))
        pathlib.Path("started").touch()
        time.sleep(3600)
    """)
    stop_once_started(Retraining(project.root, timeout_s=LIMIT_S), project.root)
    child = int((project.root / "child").read_text())
    wait_until(lambda: not is_running(child))


def test_a_script_gets_the_chance_to_close_its_run(project):
    project.script("""
        import pathlib, time
        try:
            pathlib.Path("started").touch()
            time.sleep(3600)
        except KeyboardInterrupt:
            print("run closed", flush=True)
    """)
    retraining = Retraining(project.root, timeout_s=LIMIT_S, grace_s=LIMIT_S)
    assert stop_once_started(retraining, project.root).stdout == "run closed\n"


def test_a_script_that_does_not_end_is_killed(project):
    project.script("""
        import os, pathlib, signal, time
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        pathlib.Path("pid").write_text(str(os.getpid()))
        pathlib.Path("started").touch()
        time.sleep(3600)
    """)
    stop_once_started(Retraining(project.root, timeout_s=LIMIT_S, grace_s=0.1), project.root)
    assert not is_running(int((project.root / "pid").read_text()))


def test_no_retraining_outlives_the_server(project):
    project.script(WAIT_FOR_FILE)
    retraining = Retraining(project.root, timeout_s=LIMIT_S)
    assert "stopped" in stop_once_started(retraining, project.root).failure
    assert "stopped" in retraining.run().failure


def test_a_long_output_is_answered_by_its_end(project):
    project.script(f"print('x' * {MAX_OUTPUT_BYTES}); print('the end')")
    outcome = Retraining(project.root, timeout_s=LIMIT_S).run()
    assert outcome.stdout.startswith("[9 bytes before this are left out]\nx")
    assert outcome.stdout.endswith("x\nthe end\n")


def test_retraining_leaves_the_processor_to_inspections(project):
    lower = min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
    project.script(f"""
        import os, time
        while os.getpriority(os.PRIO_PROCESS, 0) != {lower}:
            time.sleep(0.01)
        print("lower")
    """)
    assert Retraining(project.root, timeout_s=LIMIT_S).run().stdout == "lower\n"
