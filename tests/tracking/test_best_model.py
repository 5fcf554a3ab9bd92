from dataclasses import replace
from pathlib import Path

import pytest

from defect_detection.errors import NoModelError, TrackingError
from defect_detection.tracking.best_model import BestModelInfo

INFO = BestModelInfo("4f3c", Path("/line 1/best: one.keras"), "models:/m-12", "accuracy", 0.1 + 0.2)


def test_what_is_written_is_read_back(tmp_path: Path):
    INFO.write(tmp_path / "new" / "info.txt")
    assert BestModelInfo.read(tmp_path / "new" / "info.txt") == INFO
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["info.txt"]


def test_the_file_has_one_key_and_value_a_line(tmp_path: Path):
    INFO.write(tmp_path / "info.txt")
    assert (tmp_path / "info.txt").read_text().splitlines() == [
        "run_id: 4f3c",
        "model_path: /line 1/best: one.keras",
        "model_uri: models:/m-12",
        "metric: accuracy",
        "value: 0.30000000000000004",
    ]


def test_the_file_names_the_model_of_its_own_project(tmp_path: Path):
    inside = replace(INFO, model_path=tmp_path / "line1/temp_best_model/best.keras")
    inside.write(tmp_path / "line1/info.txt")
    assert "model_path: temp_best_model/best.keras\n" in (tmp_path / "line1/info.txt").read_text()
    moved = (tmp_path / "line1").rename(tmp_path / "line2")
    assert BestModelInfo.read(moved / "info.txt").model_path == moved / "temp_best_model/best.keras"


def test_without_the_file_the_error_names_the_command_that_makes_it(tmp_path: Path):
    with pytest.raises(NoModelError, match=r"run `defect train`"):
        BestModelInfo.read(tmp_path / "info.txt")
    with pytest.raises(NoModelError, match=r"run `defect train --product bolt`"):
        BestModelInfo.read(tmp_path / "info.txt", " --product bolt")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("run_id: a\n", "`model_path: …`"),
        ("run_id: a\nmodel_path: b\nmodel_uri: c\nmetric: d\nvalue: e\n", "'e'"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: str, complaint: str):
    (tmp_path / "info.txt").write_text(text)
    with pytest.raises(TrackingError, match=complaint):
        BestModelInfo.read(tmp_path / "info.txt")
