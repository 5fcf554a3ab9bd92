"""The gate at the end of the pipeline: known defects, a fresh process, other test images, the self-check."""

import re
import shutil

from PIL import Image

from defect_detection.cli import main
from defect_detection.evaluation.gate import Outcome
from defect_detection.evaluation.operating_point import ReviewBand
from defect_detection.evaluation.plateaus import HIGHEST_CUT
from defect_detection.inference.inspect import Inspector
from defect_detection.model.bundle import (
    CARD_FILE,
    OPENVINO_FILE,
    read_card,
    read_golden,
    write_card,
    write_golden,
)
from defect_detection.use_cases.checks import check_challenge, check_servable
from defect_detection.use_cases.evaluate import evaluate
from defect_detection.use_cases.selfcheck import selfcheck


def add_challenge(plant, label, name, folder="data/challenge/hole"):
    """Make a test image with this label a known defect."""
    source = next(sample.path for sample in plant.samples() if sample.label == label)
    target = plant.root / folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    return shutil.copy(source, target)


def with_card(plant, folder, **changes):
    """Write a copy of the trained model with other values on its card."""
    bundle = plant.root / folder
    shutil.copytree(plant.config().bundle_dir, bundle)
    card = read_card(bundle).model_copy(update=changes)
    (bundle / CARD_FILE).unlink()
    write_card(bundle, card)
    return bundle


# -- known defects ----------------------------------------------------------------------------------------------------


def test_without_known_defects_there_is_nothing_to_check(plant):
    checked = check_challenge(Inspector.load(plant.config().bundle_dir), plant.config())
    assert (checked.passed, checked.text) == (
        None,
        "No known defects to check: data/challenge contains no image",
    )


def test_known_defects_that_are_caught_pass_and_a_missed_one_is_named(plant):
    inspector = Inspector.load(plant.config().bundle_dir)
    add_challenge(plant, 1, "caught.png")
    add_challenge(plant, 1, "in-no-folder.png", "data/challenge")
    assert check_challenge(inspector, plant.config()).text == "All 2 known defects are caught"
    add_challenge(plant, 0, "missed.png")
    (plant.root / "data/challenge/hole/broken.png").write_bytes(b"no image")
    checked = check_challenge(inspector, plant.config())
    assert checked.passed is False
    assert "2 of 4 known defects are missed: data/challenge/hole/broken.png (cannot be read)" in checked.text
    assert re.search(r"data/challenge/hole/missed\.png \(score 0\.\d+\)", checked.text)


def test_a_known_defect_that_goes_to_a_person_is_caught(plant):
    add_challenge(plant, 1, "unsure.png")
    bundle = with_card(plant, "unsure", review=ReviewBand(low=0.0, high=HIGHEST_CUT))
    assert check_challenge(Inspector.load(bundle), plant.config()).text.endswith(
        "caught, 1 of them for review"
    )


def test_a_missed_known_defect_holds_the_first_model_too(plant):
    add_challenge(plant, 0, "missed.png")
    evaluated = evaluate(plant.config())
    assert evaluated.decision.outcome is Outcome.HOLD
    assert any("missed.png" in reason for reason in evaluated.decision.reasons)
    assert plant.in_production() is None
    assert evaluate(plant.config("evaluation.gate.guards=[escapes]")).decision.outcome is Outcome.PROMOTE


# -- a fresh process --------------------------------------------------------------------------------------------------


def test_a_whole_bundle_answers_in_a_fresh_process_also_with_small_golden_images(
    plant, tmp_path_factory, monkeypatch
):
    code = tmp_path_factory.mktemp("code")  # MLflow leaves the path of a loaded model's code in front
    logged = code / "defect_detection" / "__init__.py"
    logged.parent.mkdir()
    logged.touch()
    monkeypatch.syspath_prepend(code)
    ranges = {"image size (px)": (900.0, 2000.0), "brightness": (0.0, 255.0)}
    reference = read_card(plant.config().bundle_dir).reference.model_copy(update={"ranges": ranges})
    checked = check_servable(with_card(plant, "photographs", reference=reference))
    assert checked.passed, checked.text
    assert re.search(r"gives \d+ golden images the same verdicts", checked.text)


def test_a_damaged_bundle_does_not(plant):
    bundle = with_card(plant, "damaged")
    (bundle / OPENVINO_FILE).write_text("<net/>")
    checked = check_servable(bundle)
    assert checked.passed is False
    assert "model.xml: does not match its checksum" in checked.text


# -- exit code --------------------------------------------------------------------------------------------------------


def test_a_wrong_command_line_is_an_error_and_no_outcome(capsys):
    assert main(["evaluate", "--unknown"]) == 3
    assert main(["no-such-verb"]) == 3
    capsys.readouterr()


# -- self-check -------------------------------------------------------------------------------------------------------


def test_without_a_model_in_production_there_is_nothing_to_check(trained_once, capsys):
    assert main(["selfcheck", "--config", str(trained_once.root / "config.yaml")]) == 3
    assert "No model is in production" in capsys.readouterr().err


def test_the_model_in_production_is_checked(promoted, capsys):
    plant = promoted
    config = ["--config", str(plant.root / "config.yaml")]
    assert main(["selfcheck", *config]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:-1]] == [
        ["ok", "files"],
        ["ok", "registered"],
        ["ok", "golden"],
        ["ok", "reference"],
        ["none", "challenge"],
    ]
    assert lines[-1] == "Production_Reg version 1 @prod: all checks passed"
    add_challenge(plant, 0, "missed.png")
    assert main(["selfcheck", *config]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "Production_Reg version 1 @prod: failed: challenge"


def test_a_model_of_an_earlier_version_is_said_to_guard_nothing(plant):
    checked = selfcheck(plant.config(), with_card(plant, "earlier", reference=None))
    (reference,) = [check for check in checked.checks if check.name == "reference"]
    assert reference.passed is None
    assert "a black frame or another product may pass as ok. Train again" in reference.text
    assert checked.passed


def test_other_test_images_start_anew_and_the_report_says_how_many_are_unlike_those_of_training(promoted):
    plant = promoted
    for path in sorted((plant.root / "data/test/ok").glob("*.png"))[:2]:
        Image.new("L", (64, 64), int(path.stem[-1])).save(path)
    done = evaluate(plant.config())
    assert done.decision.test_set_decisions == 1
    (fact,) = [fact.text for fact in done.report.facts if fact.name == "Unlike the training images"]
    assert fact.startswith("2 of 20 test images are unlike the training images; ")


def test_a_damaged_file_and_another_verdict_are_found(plant):
    whole, flipped = with_card(plant, "whole"), with_card(plant, "flipped")
    images, scores = read_golden(flipped)
    write_golden(flipped, images, 1 - scores)
    (flipped / CARD_FILE).unlink()
    write_card(flipped, read_card(whole))
    assert selfcheck(plant.config(), whole).passed
    files, _, golden, *_ = selfcheck(plant.config(), flipped).checks
    assert (files.passed, golden.passed) == (True, False)
    assert golden.text.startswith(f"{len(scores)} of {len(scores)} golden images get a different verdict")
    damaged = with_card(plant, "damaged")
    (damaged / "golden.npz").write_bytes(b"")
    checked = selfcheck(plant.config(), damaged)
    assert [check.name for check in checked.checks] == ["files", "registered"]
    assert not checked.passed
    assert "golden.npz: does not match its checksum" in checked.checks[0].text
