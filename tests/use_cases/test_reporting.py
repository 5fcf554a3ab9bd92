"""The report of an evaluation: masks from files, the page, and the figures in MLflow."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plant import SIDE, Plant

from defect_detection.tracking.store import connect
from defect_detection.use_cases.evaluate import Evaluated, evaluate
from defect_detection.use_cases.train import train

DARK = 90  # a hole is darker, the part around it is not


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plant, Evaluated]:
    """A plant with a mask of every hole but one, whose mask is empty; twice as large, so that a hole is a small part of it."""
    plant = Plant.build(tmp_path_factory.mktemp("masked"))
    folder = plant.root / "data/ground_truth/hole"
    folder.mkdir(parents=True)
    images = sorted((plant.root / "data/test/hole").iterdir())
    images[0] = images[0].rename(images[0].with_stem("2-000 [odd]"))
    for place, image in enumerate(images):
        marked = (np.asarray(Image.open(image)) < DARK) & (place > 0)
        Image.fromarray(marked.astype(np.uint8) * 255).save(folder / f"{image.stem}_mask.png")
    one_set = "[{name: both, hidden_units: 16, turns: 1, pooled_regularization: 0.1}]"
    overrides = (
        f"data.image_size={2 * SIDE}",
        "evaluation.defect_rate=0.02",
        f"training.hyperparameter_sets={one_set}",
    )
    train(plant.config(*overrides))
    return plant, evaluate(plant.config(*overrides))


def test_evidence_is_compared_with_the_masks_beside_the_test_images(evaluated):
    report = evaluated[1].report
    assert report.pointing.all.total == 9
    assert report.pointing.all.count >= 8  # these holes are hard to miss
    assert 0 < report.pointing.by_chance < 0.4
    (note,) = [note for note in report.notes if "mask" in note]
    assert note.startswith("1 mask was left out") and "2-000 [odd]_mask.png" in note


def test_names_in_the_summary_are_no_markup(evaluated):
    summary = evaluated[1].files["summary"].read_text(encoding="utf-8")
    assert r"2-000 \[odd\]\_mask.png" in summary


def test_paths_start_at_the_folder_of_the_settings(evaluated):
    (hole,) = evaluated[1].report.defect_types
    assert hole.hardest.startswith("data/test/hole/")


def test_summary_and_report_lie_in_the_report_folder(evaluated):
    plant, result = evaluated
    assert {path.parent for path in result.files.values()} == {plant.config().report_dir}
    assert {"html", "json", "summary", "cost_curve"} <= result.files.keys()


def test_the_run_of_the_decision_has_the_report_and_its_figures(evaluated, tmp_path):
    plant, result = evaluated
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


def test_figures_of_the_report_can_be_opened(evaluated):
    for path in evaluated[1].files.values():
        if path.suffix == ".png":
            Image.open(io.BytesIO(path.read_bytes())).verify()
