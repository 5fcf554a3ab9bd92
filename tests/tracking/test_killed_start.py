"""A process that is killed while it creates the embedded store does not block the next one."""

import subprocess

from forked import python

from defect_detection.tracking.store import connect

KILLED = """
import os, sys
from alembic.runtime.migration import HeadMaintainer
from defect_detection.tracking.store import connect

left = int(sys.argv[2])

def step(*_arguments):
    global left
    left -= 1
    if left == 0:
        os._exit(9)
    return real(*_arguments)

real, HeadMaintainer.update_to_step = HeadMaintainer.update_to_step, step
connect(sys.argv[1], "first")
"""


def test_a_store_whose_making_was_killed_is_made_again(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    done = subprocess.run([python(), "-c", KILLED, uri, "12"], check=False)
    assert (done.returncode, (tmp_path / "mlflow.db").exists()) == (9, False)
    assert connect(uri, "second").experiment_id is not None
