"""What a training notes about its images, and `defect data diff` between versions and folders."""

import json
import shutil

import pytest
from plant import Plant, draw_part, draw_parts

from defect_detection.cli import main
from defect_detection.config import Config
from defect_detection.errors import DataError, NoModelError
from defect_detection.model.bundle import CARD_FILE, read_card, write_card
from defect_detection.tracking.artifacts import artifact_of
from defect_detection.tracking.best_model import BestModelInfo
from defect_detection.use_cases.manifest import diff


def text_of(plant: Plant) -> str:
    config = plant.config()
    run = BestModelInfo.read(config.best_model_info).run_id
    return artifact_of(config.tracking_uri, run, "manifest.jsonl").decode()


def test_a_training_lists_each_image_and_the_card_names_the_list(trained_once, tmp_path):
    lines = [json.loads(line) for line in text_of(trained_once).splitlines()[1:]]
    counts = {split: sum(one["split"] == split for one in lines) for split in ("train", "validation", "test")}
    assert counts == {"train": 48, "validation": 12, "test": 20}
    (one,) = [one for one in lines if one["file"] == "data/train/hole/1-000.png"]
    assert (one["label"], one["types"], one["source"]) == ("defective", ["hole"], "data.train_dir")
    assert len(one["sha256"]) == 64 and isinstance(one["findings"], list)
    (tmp_path / "manifest.jsonl").write_text(text_of(trained_once))
    assert diff("Defect_CNN/1", str(tmp_path / "manifest.jsonl"), trained_once.config()).is_empty


def test_the_report_links_a_copy_of_the_list(promoted_once):
    folder = promoted_once.config().report_dir
    assert (folder / "manifest.jsonl").read_text() == text_of(promoted_once)
    assert '<a href="manifest.jsonl">' in (folder / "report.html").read_text()
    named = read_card(promoted_once.config().bundle_dir).data["manifest"]
    assert json.loads((folder / "report.json").read_text())["model"]["manifest"] == named


def test_a_version_is_compared_with_the_folders_of_today(promoted, monkeypatch, capsys):
    monkeypatch.chdir(promoted.root)
    assert main(["data", "diff", "1", "."]) == 0
    assert main(["data", "diff", "Production_Reg@prod", "data"]) == 0
    (promoted.root / "data/train/hole/1-000.png").rename(promoted.root / "data/train/ok/moved.png")
    (promoted.root / "data/train/ok/1-000.png").unlink()
    draw_part(__import__("numpy").random.default_rng(9), True).save(promoted.root / "data/test/hole/new.png")
    capsys.readouterr()
    assert main(["data", "diff", "1", "."]) == 1
    said = capsys.readouterr().out
    assert "relabelled: 1\n  data/train/ok/moved.png: defective → ok" in said
    assert "1 added, 1 removed, 1 relabelled (80 images before, 80 after)" in said


def test_feedback_is_in_the_list_with_its_source(plant):
    from defect_detection.data.split import load_splits
    from defect_detection.use_cases.manifest import listed

    folder = plant.root / "data/feedback/hole"
    folder.mkdir(parents=True)
    draw_part(__import__("numpy").random.default_rng(5), True).save(folder / "labelled.png")
    config = plant.config("data.feedback_dir=data/feedback")
    entries = listed(load_splits(config), (), config).manifest.entries("new")
    assert {one.file for one in entries if one.source == "data.feedback_dir"} == {
        "data/feedback/hole/labelled.png"
    }


def test_a_model_of_an_earlier_version_says_that_it_has_no_list(plant):
    reference = plant.registry.version("Defect_CNN", 1)
    bundle = plant.registry.bundle_of(reference, plant.config().cache_dir)
    card = read_card(bundle)
    data = {name: value for name, value in card.data.items() if name != "manifest"}
    copy = shutil.copytree(bundle, plant.root / "old")
    (copy / CARD_FILE).unlink()
    write_card(copy, card.model_copy(update={"data": data}))
    assert "manifest" in card.data
    from defect_detection.tracking.runs import ExperimentRecorder
    from defect_detection.use_cases.candidates import Candidate
    from defect_detection.use_cases.train import keep

    config = plant.config()
    with ExperimentRecorder(config.tracking_uri, "defect-detection").trial("old", {}) as record:
        kept = keep(Candidate(read_card(copy), copy, record.run_id, record.model(copy), {}), config)
    with pytest.raises(NoModelError, match=r"version 2: its training logged no manifest\.jsonl"):
        diff(f"Defect_CNN/{kept.version}", ".", config)


@pytest.mark.parametrize("name", ["", "9", "Nothing/1", "nowhere/at/all.jsonl", "Production_Reg@gone"])
def test_an_unknown_side_is_refused_with_what_it_may_be(name, promoted_once):
    with pytest.raises(NoModelError, match="expected a folder of images, a manifest"):
        diff(name, ".", promoted_once.config())


def test_a_folder_without_classes_is_refused_as_it_would_show_no_difference(tmp_path):
    draw_parts(tmp_path / "parts", 1, 1, seed=1)
    config = Config()
    assert diff(str(tmp_path / "parts"), str(tmp_path / "parts"), config).is_empty
    with pytest.raises(DataError, match="parts/ok: expected images in one folder for each class"):
        diff(str(tmp_path / "parts/ok"), str(tmp_path / "parts/ok"), config)
