"""Keras and TensorFlow settings of other projects do not affect this one."""

import json
import os
import subprocess
import sys
from threading import Event, Thread

import backend_as_imported
import pytest
from forked import fork, said_while_importing
from waiting import LIMIT_S, wait_until

from defect_detection.model import chatter
from defect_detection.model.chatter import without_chatter


def test_settings_of_other_projects_do_not_reach_the_model_and_tensorflow_says_nothing(tmp_path):
    """The server that forks for tests is started with such settings, and imports Keras before it forks."""
    assert said_while_importing() == ""
    child = fork(tmp_path, backend_as_imported.show)
    assert child.ended() == 0, child.said()
    assert child.said().splitlines() == [
        "tensorflow channels_last float32 channels_last",
        "1e-07 None True",
    ]


@pytest.mark.parametrize(
    ("settings", "variables", "message"),
    [
        ({"floatx": "int4"}, {}, "keras.json: Keras cannot use this file: Invalid `floatx`"),
        ({}, {"KERAS_BACKEND": "nonsense"}, "received nonsense"),
    ],
)
def test_what_keras_cannot_use_is_named(settings, variables, message, tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KERAS")}
    environment |= {"KERAS_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)} | variables
    command = [sys.executable, "-c", "import defect_detection.model.backend"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "ConfigError" in done.stderr.splitlines()[-1] and message in done.stderr.splitlines()[-1]


def test_what_is_no_chatter_is_passed_on(capfd):
    with without_chatter():
        os.write(2, b"I0000 00:00:1795914316.124324   15394 devices.cc:76] Number of eligible GPUs\n")
        os.write(
            2, b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
        )
        os.write(2, b"2026-01-01 00:00:00.1: I tensorflow/core.cc:1] hello\nF0000 a crash\nInteresting\n")
    assert capfd.readouterr().err == "F0000 a crash\nInteresting\n"


def test_two_threads_that_hold_back_chatter_give_standard_error_back(capfd):
    """The one that began first ends first."""
    first_ends, second_began = Event(), Event()

    def first() -> None:
        with without_chatter():
            second_began.wait(LIMIT_S)
        first_ends.set()

    thread = Thread(target=first)
    thread.start()
    wait_until(lambda: chatter.holder.blocks == 1)
    with without_chatter():
        second_began.set()
        first_ends.wait(LIMIT_S)
    thread.join()
    os.write(2, b"Error: the disk is full\n")
    assert capfd.readouterr().err == "Error: the disk is full\n"
