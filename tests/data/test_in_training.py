"""The mark of a product that is trained: it lasts as long as the training, however that ends."""

import subprocess
import sys

from defect_detection.data.in_training import in_training, is_in_training
from defect_detection.data.whole_changes import LOCK, alone

KILLED = """
import os, sys
from pathlib import Path
from defect_detection.data.in_training import in_training
with in_training(Path(sys.argv[1])):
    os.kill(os.getpid(), 9)
"""


def test_a_mark_lasts_as_long_as_its_training_also_where_no_folder_of_images_was(tmp_path):
    with in_training(tmp_path):
        with in_training(tmp_path):
            pass
        assert is_in_training(tmp_path)
    assert not is_in_training(tmp_path)
    assert [path.name for path in (tmp_path / "data").iterdir()] == [LOCK]


def test_the_mark_of_a_machine_that_lost_its_power_does_not_count(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    (mark,) = (tmp_path / "data").glob("*.train")
    first, _, *others = mark.name.split("-")
    mark.rename(mark.with_name("-".join([first, "0" * 8, *others])))  # as of another start of this machine
    assert not is_in_training(tmp_path)
    assert not any((tmp_path / "data").glob("*.train"))


def test_no_training_begins_while_images_are_moved(tmp_path):
    begin = "import sys; from pathlib import Path; from defect_detection.data import whole_changes, in_training as one"
    begin += "; whole_changes.WAIT_S = 0.1; one.in_training(Path(sys.argv[1])).__enter__()"
    with alone(tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", begin, tmp_path], capture_output=True, text=True, check=False
        )
    assert "another process is changing these images" in done.stderr
