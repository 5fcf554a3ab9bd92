"""The audit as users meet it: on the command line, before training, and in the reports that follow."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from plant import LEVELS, Plant

from defect_detection.cli import main
from defect_detection.config import Config
from defect_detection.data.audit.catalogue import Severity
from defect_detection.data.split import load_splits
from defect_detection.errors import LeakageError, ShortcutError
from defect_detection.model.bundle import HELD_OUT_FILE, read_card, read_held_out
from defect_detection.use_cases.audit import audit
from defect_detection.use_cases.checks import _shortcuts
from defect_detection.use_cases.evaluate import evaluate
from defect_detection.use_cases.train import train

QUICK = "branches: [pooled], turns: 1, pooled_regularization: 0.1"
ONE_SET = f"training.hyperparameter_sets=[{{name: only, levels: {list(LEVELS)}, {QUICK}}}]"


def check(config: Config) -> int:
    return main(["data", "check", "--config", str(config.root / "config.yaml")])


def leak(plant: Plant) -> Path:
    """Put a training image into the test folder."""
    known = next((plant.root / "data/train/ok").iterdir())
    return Path(shutil.copy(known, plant.root / "data/test/ok/leaked.png"))


def test_training_looks_at_the_data_and_says_where_the_report_is(trained_once):
    report = trained_once.config().report_dir / "audit.html"
    assert "This data can be used for training" in report.read_text(encoding="utf-8")
    found = json.loads(report.with_suffix(".json").read_text(encoding="utf-8"))
    assert [(side["images"], side["defective"]) for side in found["folders"]] == [(60, 30), (20, 10)]
    assert not found["blocks_training"]
    folders = [trained_once.root / "data" / side for side in ("train", "test")]
    lines = [f"{folders[0]}: hole: 30 defective; ok: 30 OK", f"{folders[1]}: hole: 10 defective; ok: 10 OK"]
    assert found["understood"] == lines
    assert lines[0] in report.read_text(encoding="utf-8")


def test_check_lists_leakage_and_ends_with_1(plant, capsys):
    leaked = leak(plant)
    (plant.root / "data/train/ok/broken.png").write_bytes(b"no image")
    assert check(plant.config()) == 1
    said = capsys.readouterr().out
    assert "!! The same image in train and test: 1 test image also in train" in said
    assert " ! Unreadable files: 1 file left out" in said
    found = json.loads((plant.config().report_dir / "audit.json").read_text(encoding="utf-8"))
    assert found["blocks_training"]
    assert found["findings"][0]["entries"][0]["paths"][1] == str(leaked)
    page = (plant.config().report_dir / "audit.html").read_text(encoding="utf-8")
    assert "Training refuses this data" in page
    assert page.count("data:image/jpeg;base64,") >= 2
    assert "http" not in page.replace("http://www.w3.org", "")


def test_check_looks_at_the_feedback_as_training_does(plant, capsys):
    feedback = plant.root / "data/feedback"
    for source, name in (("test/hole", "hole"), ("train/hole", "ok")):
        (feedback / name).mkdir(parents=True)
        first = sorted((plant.root / "data" / source).iterdir())[0]
        shutil.copy(first, feedback / name / "a.png")
    assert check(plant.config()) == 0
    said = capsys.readouterr().out
    assert "data/feedback: hole: 1 defective; ok: 1 OK" in said
    assert "2 files left out" in said  # one is in the test split, one is labelled otherwise now
    (feedback / "hole").rename(feedback / "okay")
    assert check(plant.config()) == 3
    assert "data.feedback_dir: " in capsys.readouterr().err


def as_jpeg(folder: Path) -> None:
    for path in sorted(folder.glob("*.png")):
        with Image.open(path) as image:
            image.save(path.with_suffix(".jpg"), quality=95)
        path.unlink()


def test_check_blocks_where_the_file_format_tells_the_label_unless_that_is_allowed(plant, capsys):
    as_jpeg(plant.root / "data/train/hole")
    assert check(plant.config()) == 1
    assert "!! File properties predict the label: the file format" in capsys.readouterr().out
    audited = audit(plant.config("data.allow_shortcuts=true"))
    assert not audited.is_blocked
    assert "1 allowed shortcut" in str(audited)


def test_a_shortcut_is_a_note_where_training_learns_from_ok_images_alone_and_the_report_says_so(plant):
    as_jpeg(plant.root / "data/train/hole")
    of_ok = plant.config("training.mode=one_class")
    (found,) = [one for one in audit(of_ok).findings if one.kind.name == "shortcuts"]
    assert found.severity is Severity.NOTE
    assert found.summary.endswith("the figures for defective images may be too good")
    assert load_splits(of_ok).shortcuts == ("the file format predicts the label of 100% of the parts",)
    with pytest.raises(ShortcutError):
        load_splits(plant.config())
    data = {"shortcuts": "the file format predicts the label"}
    card = read_card(plant.config().bundle_dir).model_copy(update={"kind": "one_class", "data": data})
    assert _shortcuts(card) == [
        "Shortcuts: in the training images the file format predicts the label: the model learned from OK images alone, so not from "
        "this, but the figures for defective images may be too good"
    ]


def test_check_of_clean_data_ends_with_0(plant, capsys):
    assert check(plant.config()) == 0
    assert "Next: defect train" in capsys.readouterr().out


def test_check_of_missing_data_ends_with_3(project, capsys):
    assert check(project()) == 3
    assert "data.train_dir" in capsys.readouterr().err


def test_without_scores_check_says_when_labels_are_compared(plant, capsys):
    (plant.config().bundle_dir / HELD_OUT_FILE).unlink()
    assert check(plant.config()) == 0
    assert "needs the scores of a first training" in capsys.readouterr().out


def test_a_label_that_was_changed_after_training_is_suspect(plant):
    scores = read_held_out(plant.config().bundle_dir)
    validation = plant.samples("validation")
    assert scores.keys() == {sample.sha256 for sample in validation}
    ok = min((s for s in validation if s.label == 0), key=lambda sample: scores[sample.sha256])
    moved = ok.path.rename(plant.root / "data/train/hole" / ok.path.name)
    (suspects,) = [f for f in audit(plant.config()).findings if f.kind.name == "label_suspects"]
    assert moved in [entry.paths[0] for entry in suspects.entries]


def test_scores_of_a_damaged_model_are_not_compared_with_labels(plant):
    ok = plant.samples("validation")[0].path
    assert audit(plant.config()).has_scores
    (plant.config().bundle_dir / "model.bin").unlink()
    assert read_held_out(plant.config().bundle_dir)
    ok.rename(plant.root / "data/train" / ("hole" if ok.parent.name == "ok" else "ok") / ok.name)
    audited = audit(plant.config())
    assert not audited.has_scores
    assert "label_suspects" not in {one.kind.name for one in audited.findings}


def test_names_with_html_in_them_stay_text(plant):
    (plant.root / "data/train/ok/<b>broken.png").write_bytes(b"")
    page = audit(plant.config()).files["html"].read_text(encoding="utf-8")
    assert "&lt;b&gt;broken.png" in page
    assert "<b>broken" not in page


def test_leakage_stops_training_unless_allowed_and_then_every_report_says_so(plant):
    leak(plant)
    with pytest.raises(
        LeakageError,
        match=r"1 test images are also in train:\n.*leaked.png[^`]*`defect data check` lists all; .*allow_leakage: true",
    ):
        train(plant.config())
    as_jpeg(plant.root / "data/train/hole")
    with pytest.raises(
        ShortcutError,
        match="the file format predicts the label of 100% of the parts: JPEG: 0 OK, 30 defective; PNG: 30 OK",
    ):
        train(plant.config("data.allow_leakage=true"))
    allowed = plant.config("data.allow_leakage=true", "data.allow_shortcuts=true", ONE_SET)
    trained = train(allowed)
    assert "1 allowed leakage, 1 allowed shortcut" in str(trained.audit)
    assert read_card(allowed.bundle_dir).data["leaking_images"] == 1
    assert any(note.startswith("Leakage: 1 test images") for note in evaluate(allowed).report.notes)
    summary = (allowed.report_dir / "summary.md").read_text(encoding="utf-8")
    assert "Leakage: 1 test images" in summary
    assert (
        "Shortcuts: in the training images the file format predicts the label of 100% of the parts" in summary
    )
    with pytest.raises(LeakageError, match="1 test images were among the training images"):
        evaluate(plant.config())
    (plant.root / "data/test/ok/leaked.png").unlink()
    assert any("Leakage: 1 test images" in note for note in evaluate(plant.config()).report.notes)
