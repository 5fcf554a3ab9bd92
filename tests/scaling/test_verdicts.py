"""The output of a batch inspection is whole, of one model, and knows what is done."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from defect_detection.data.boxes import Boxes, DefectBox
from defect_detection.data.extent import Box
from defect_detection.errors import ConfigError, DataError
from defect_detection.inference.inspect import Inspection
from defect_detection.scaling.verdicts import Verdicts

BUNDLE = Path(__file__).parent  # some files
ABOUT = {"model": "a v1", "threshold": 0.5}


def inspection(path: str, **more) -> Inspection:
    return Inspection(path, 0.7, "defective", 0.5, "a v1", 1.234, **more)


def test_rows_are_found_again_and_a_shard_that_is_written_twice_counts_once(tmp_path):
    output = Verdicts(str(tmp_path / "out"))
    assert output.done(ABOUT) == set()
    output.begin(ABOUT, BUNDLE)
    for _ in range(2):
        output.write("1", [inspection("/a.png"), inspection("/b\udcff.png", error="cut off")])
    output.write("2", [inspection("s3://bucket/c.png")])
    assert Verdicts(str(tmp_path / "out")).done(ABOUT) == {
        "/a.png",
        "/b\\xff.png",
        "s3://bucket/c.png",
    }
    rows = pq.read_table(tmp_path / "out").to_pylist()
    assert len(rows) == 3
    assert rows[0] == {
        "path": "/a.png",
        "verdict": "defective",
        "score": 0.7,
        "threshold": 0.5,
        "defect_type": None,
        "model_version": "a v1",
        "latency_ms": 1.23,
        "error": None,
        "reason": None,
        "defect_types": [],
        "boxes": [],
        "ignored_boxes": 0,
    }


@pytest.mark.parametrize("mm_per_px", [None, 0.5])
def test_boxes_are_read_back_with_and_without_millimetres(tmp_path, mm_per_px):
    output = Verdicts(str(tmp_path / "out"))
    output.begin(ABOUT, BUNDLE)
    box = DefectBox(Box(2, 4, 12, 8), 40, 1.0, mm_per_px)
    output.write("1", [inspection("/a.png", boxes=Boxes((box,))), inspection("/b.png")])
    (first, second) = pq.read_table(tmp_path / "out").to_pylist()
    assert {name: value for name, value in first["boxes"][0].items() if value is not None} == box.to_json()
    assert second["boxes"] == []


def test_verdicts_of_two_models_do_not_mix(tmp_path):
    Verdicts(str(tmp_path)).begin(ABOUT, BUNDLE)
    with pytest.raises(
        ConfigError, match=r"holds verdicts with model a v1, and model is a v2 now; choose another"
    ):
        Verdicts(str(tmp_path)).done(ABOUT | {"model": "a v2"})


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(
        ConfigError, match=r"expected an empty folder or the output of an earlier .* found notes\.txt"
    ):
        Verdicts(str(tmp_path)).done(ABOUT)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_half_written_file_of_verdicts_is_named_and_costs_no_other(tmp_path):
    output = Verdicts(str(tmp_path))
    output.begin(ABOUT, BUNDLE)
    output.write("1", [inspection("/a.png")] * 50)
    output.write("2", [inspection("/b.png")])
    path = tmp_path / "verdicts-1.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(
        DataError, match=r"verdicts-1\.parquet: is not a complete Parquet file; remove it, and run"
    ):
        output.done(ABOUT)
    path.unlink()
    assert output.done(ABOUT) == {"/b.png"}
