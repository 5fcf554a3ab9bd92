"""Cleanup after a dead server ends only our own processes, and a process that remains does not delay the start."""

import os
import subprocess

import pytest
from waiting import wait_until

from defect_detection.processes import ending
from defect_detection.processes.ending import JOB_VARIABLE, end_processes_of


@pytest.fixture
def left_behind(request):
    """Return a function that starts a process with the mark of a job."""
    started = []

    def start(job_id: str, user: int | None = None) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [
                "/bin/sh",
                "-c",
                "echo here; read line",
            ],  # a process that starts another program has no environment meanwhile
            env={JOB_VARIABLE: job_id},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            user=user,
            cwd="/",
        )
        started.append(process)
        assert process.stdout and process.stdout.readline() == b"here\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_what_a_job_left_behind_is_ended(left_behind):
    ours, of_another_job = left_behind("one"), left_behind("two")
    assert end_processes_of("one") == (1, [])
    wait_until(lambda: ours.poll() is not None)
    assert of_another_job.poll() is None


def test_a_process_that_cannot_be_ended_is_named_after_a_deadline(left_behind, monkeypatch):
    def refuse(*_arguments: object) -> None:
        raise PermissionError

    process = left_behind("one")
    for limit in ("GRACE_S", "KILL_S"):
        monkeypatch.setattr(ending, limit, 0.1)
    with monkeypatch.context() as kept:
        kept.setattr(os, "kill", refuse)
        assert end_processes_of("one") == (1, [process.pid])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_a_process_of_another_user_is_left_alone(left_behind):
    process = left_behind("one", user=65534)
    assert end_processes_of("one") == (0, [])
    assert process.poll() is None
