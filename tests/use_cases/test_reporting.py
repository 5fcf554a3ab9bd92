"""The report of an evaluation: masks from files, the page, and the figures in MLflow."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from defect_detection.tracking.store import connect


def test_evidence_is_compared_with_the_masks_beside_the_test_images(masked):
    report = masked[1].report
    assert report.pointing.all.total == 9
    assert report.pointing.all.count >= 8  # these holes are hard to miss
    assert 0 < report.pointing.by_chance < 0.4
    (note,) = [note for note in report.notes if "mask" in note]
    assert note.startswith("1 mask was left out") and "2-000 [odd]_mask.png" in note


def test_names_in_the_summary_are_no_markup(masked):
    summary = masked[1].files["summary"].read_text(encoding="utf-8")
    assert r"2-000 \[odd\]\_mask.png" in summary


def test_paths_start_at_the_folder_of_the_settings(masked):
    (hole,) = masked[1].report.defect_types
    assert hole.hardest.startswith("data/test/hole/")


def test_summary_and_report_lie_in_the_report_folder(masked):
    plant, result = masked
    assert {path.parent for path in result.files.values()} == {plant.config().report_dir}
    assert {"html", "json", "summary", "cost_curve"} <= result.files.keys()


def test_the_run_of_the_decision_has_the_report_and_its_figures(masked, tmp_path):
    plant, result = masked
    store = connect(plant.config().tracking_uri, "promotions")
    (run,) = store.client.search_runs([store.experiment_id])
    logged, report = run.data.metrics, result.report
    assert logged["test_accuracy_low"] == pytest.approx(report.metrics.accuracy.low)
    assert logged["test_escapes_per_10000_high"] == pytest.approx(report.forecast.escapes.high)
    assert logged["test_pointing_accuracy"] == pytest.approx(report.pointing.all.value)
    assert logged["test_evidence_on_border"] == pytest.approx(report.border.share)
    assert logged["test_calibration_error"] == pytest.approx(report.metrics.calibration_error)
    copy = Path(store.client.download_artifacts(run.info.run_id, "report/report.json", str(tmp_path)))
    assert json.loads(copy.read_text()) == json.loads(result.files["json"].read_text())


def test_figures_of_the_report_can_be_opened(masked):
    for path in masked[1].files.values():
        if path.suffix == ".png":
            Image.open(io.BytesIO(path.read_bytes())).verify()
