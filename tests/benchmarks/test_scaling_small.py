"""The measurement of large trainings takes hours: it goes on after an interruption, and counts the time before it."""

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import _chosen, _parser, _sizes
from benchmarks.processes import Finished
from benchmarks.scaling_small import COLD, WARM, Notes, render


def stopped() -> Finished:
    raise KeyboardInterrupt


def took(seconds: float) -> Finished:
    return Finished(seconds, 2 * seconds, 1000, "")


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "100000.json"


def test_an_interrupted_step_goes_on_and_a_finished_one_is_not_run_again(path):
    Notes(path).once(COLD, lambda: took(10))
    with pytest.raises(KeyboardInterrupt):
        Notes(path).once(WARM, stopped)
    before = json.loads(path.read_text())[WARM]["seconds"]
    notes = Notes(path)
    assert not notes.was_killed
    assert notes.once(COLD, stopped).seconds == 10
    assert before > 0
    assert notes.once(WARM, lambda: took(5)).seconds == 5 + before


def test_a_killed_step_is_known_because_its_time_is_not(path):
    path.write_text(
        json.dumps({COLD: {"state": "running", "seconds": 0.0, "cpu_s": 0.0, "peak_bytes": None}})
    )
    assert Notes(path).was_killed


def test_a_hundred_thousand_images_are_a_table_of_small_images():
    arguments = _parser().parse_args(["scaling", "--huge"])
    assert (_chosen(arguments), _sizes(arguments)) == ("scaling_small", (1000, 10_000, 100_000))


def test_the_table_says_what_each_further_image_takes():
    rows = [{"images": n, "step": COLD, "runs": [vars(took(n / 100 + 20))]} for n in (1000, 10_000)]
    assert "20.0 ms from 1000 to 10000 images" in render({"rows": rows})
