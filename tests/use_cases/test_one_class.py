"""From OK images alone to production, with the same commands."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from once import made_once
from PIL import Image
from plant import SETTINGS, SIDE, Plant, draw_part, draw_parts

from defect_detection.cli.training import in_words
from defect_detection.config import load_config
from defect_detection.data.samples import Sample
from defect_detection.data.split import mode_of
from defect_detection.errors import DataError
from defect_detection.inference.inspect import Inspector
from defect_detection.model.bundle import read_card
from defect_detection.retraining.cycle import retrain
from defect_detection.use_cases.audit import audit
from defect_detection.use_cases.drawn_defects import try_drawn_defects
from defect_detection.use_cases.evaluate import evaluate
from defect_detection.use_cases.scoring import score
from defect_detection.use_cases.train import train

FIRST_SET = SETTINGS.replace("cv_below: 0", "cv_below: 100").partition("    - {name: pooled")[0]


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A plant on its first day: OK images alone for training and test, trained and evaluated. What was said comes with it."""
    root, done = made_once(tmp_path_factory, "first-day", _start)
    return Plant(root), *done


def _start(root):
    (root / "config.yaml").write_text(FIRST_SET)
    draw_parts(root / "data/train", 30, 0, seed=1)
    draw_parts(root / "data/test", 10, 0, seed=2)
    config, said = load_config(root / "config.yaml"), []
    trained = train(config, say=said.append)
    return trained, evaluate(config), said


def test_training_says_which_state_it_is_in_and_what_would_change_it(started):
    _, trained, _, said = started
    state = next(line for line in said if line.startswith("State"))
    assert state.startswith("State: 0 defective images: novelty, learned from OK images, decides alone")
    assert "from 2 defective parts on" in state
    assert trained.metric == "AUROC of drawn defects"
    assert {"drawn", "drawn_caught", "drawn_auroc", "overkill_rate"} <= trained.validation[
        trained.best
    ].keys()
    assert not {"auroc", "escape_rate"} & trained.validation[trained.best].keys()


def test_the_first_model_goes_into_production_on_overkill(started):
    plant, _, evaluated, _ = started
    assert evaluated.decision.outcome == "promote", evaluated.decision.reasons
    assert (
        "No defective test image, so overkill decides instead of accuracy: 0/10"
        in evaluated.decision.reasons[0]
    )
    assert plant.in_production() is not None


def test_the_report_says_that_escapes_are_unknown_and_what_would_tell(started):
    *_, evaluated, _ = started
    page = evaluated.files["html"].read_text()
    assert "No defective test image: escapes are unknown" in page
    assert "59 parts at most 5" in page
    assert "An anomaly score" in page
    written = json.loads(evaluated.files["json"].read_text())
    assert written["metrics"]["auroc"] is None
    assert written["metrics"]["escape"]["value"] is None
    assert written["metrics"]["overkill"]["total"] == 10


def test_drawn_defects_are_counted_apart_from_the_test_images(started):
    plant, _, evaluated, _ = started
    drawn, metrics = evaluated.report.unseen.drawn, evaluated.report.metrics
    assert drawn.caught.total == sum(rate.total for rate in drawn.per_kind.values()) == 15
    assert len(drawn.per_kind) == 15
    assert drawn.caught.count > 0.3 * drawn.caught.total
    assert drawn.without.total == metrics.n == 10
    assert metrics.escape.total == 0
    assert f"Caught {drawn.caught.count} of {drawn.caught.total} drawn defects" in evaluated.files[
        "html"
    ].read_text().replace("\u00a0", " ")
    again = try_drawn_defects(
        score(evaluated.registered, plant.registry, plant.samples(), plant.config()),
        plant.samples(),
        plant.config(),
    )
    assert again == drawn


def test_a_defect_that_nobody_had_seen_is_defective_and_its_score_is_called_an_anomaly_score(started):
    plant, *_ = started
    inspector = Inspector.load(plant.config().bundle_dir)
    assert inspector.card.kind == "one_class"
    rng = np.random.default_rng(5)
    parts = [np.asarray(draw_part(rng, defective).convert("RGB")) for defective in [True] * 5 + [False] * 5]
    found = list(inspector.inspect(parts))
    assert [one.verdict for one in found[:5]] == ["defective"] * 5
    assert max(one.score for one in found[5:]) < min(one.score for one in found[:5])
    assert found[0].to_json()["score_is"] == "anomaly"
    assert found[0].evidence.shape == (SIDE // 16, SIDE // 16)


def test_the_command_line_names_the_figures_that_are_known(started):
    _, trained, *_ = started
    line = in_words(trained.validation[trained.best])
    assert line.startswith("accuracy 1.000, escapes unknown, overkill 0.0%")
    (drawn,) = re.findall(r" of (\d+) drawn defects caught \(drawn, not real\)$", line)
    assert int(drawn) in (112, 116, 120), "4 on each of 30 images, of which up to 2 are unlike the others"


def test_defective_parts_among_the_ok_ones_are_named_and_hide_no_others(tmp_path):
    """One of them is known to be defective: with a single one the model still learns from OK images alone."""
    (tmp_path / "config.yaml").write_text(FIRST_SET)
    draw_parts(tmp_path / "data/train", 38, 1, seed=1)
    draw_parts(tmp_path / "data/test", 3, 0, seed=2)
    rng, said = np.random.default_rng(5), []
    hidden = [tmp_path / f"data/train/ok/hidden{number}.png" for number in range(2)]
    for path in hidden:
        draw_part(rng, True).save(path)
    config = load_config(tmp_path / "config.yaml")
    train(config, say=said.append)
    assert sum(line.startswith("! 2 OK images may show a defect") for line in said) == 1
    (finding,) = [one for one in audit(config).findings if one.kind.name == "unlike_the_others"]
    assert {entry.paths[0] for entry in finding.entries} == set(hidden)
    inspector = Inspector.load(config.bundle_dir)
    point = inspector.card.operating_point
    assert (point.overkill.count, point.overkill.total) == (2, 40), "they count as OK in the figures"
    assert "it ignores 2 OK images that are far more novel than the others" in point.reason
    parts = [np.asarray(draw_part(rng, defective).convert("RGB")) for defective in [True] * 5 + [False] * 5]
    assert [one.verdict for one in inspector.inspect(parts)] == ["defective"] * 5 + ["ok"] * 5


@pytest.mark.parametrize(
    ("defective", "wanted", "mode"),
    [
        (0, "auto", "one_class"),
        (1, "auto", "one_class"),
        (5, "auto", "supervised"),
        (5, "one_class", "one_class"),
        (0, "supervised", "supervised"),
    ],
)
def test_two_defective_parts_make_a_classifier(defective, wanted, mode):
    samples = [Sample(Path(f"{i}.png"), int(i < defective), "", "", f"{i}") for i in range(10)]
    assert mode_of(samples, wanted) == mode


def test_copies_of_one_defective_part_are_one():
    samples = [Sample(Path(f"{i}.png"), 1, "", "", "same") for i in range(10)]
    assert mode_of(samples, "auto") == "one_class"


def test_a_classifier_is_refused_where_it_is_asked_for_without_defects(started):
    plant = started[0]
    with pytest.raises(DataError, match="expected OK and defective images, received 30 OK and 0 defective"):
        train(plant.config("training.mode=supervised"))


@pytest.mark.parametrize("copies", [1, 20])
def test_one_ok_image_cannot_be_held_out(started, tmp_path, copies):
    plant = started[0].copy(tmp_path)
    paths = sorted((tmp_path / "data/train/ok").iterdir())
    for path in paths[copies:]:
        path.unlink()
    for path in paths[:copies]:
        path.write_bytes(paths[0].read_bytes())
    with pytest.raises(DataError, match="at least 2 different images or groups of OK parts"):
        train(plant.config())


def test_ok_images_that_all_show_the_same_pixels_are_refused(started, tmp_path):
    plant = started[0].copy(tmp_path)
    paths = sorted((tmp_path / "data/train/ok").iterdir())
    with Image.open(paths[0]) as first:
        for number, path in enumerate(paths):
            first.save(path, compress_level=number % 10)
    with pytest.raises(DataError, match="all OK images show the same pixels; add images of other OK parts"):
        train(plant.config())


def test_a_retraining_goes_on_to_the_next_state_by_itself(started, tmp_path):
    """The model of OK images alone is the base. Defects that came in as feedback make a classifier of it."""
    plant, said = started[0].copy(tmp_path), []
    draw_parts(tmp_path / "data/feedback", 0, 6, seed=7)
    draw_parts(tmp_path / "data/test", 0, 10, seed=8)
    settings = tmp_path / "re_train.yaml"
    settings.write_text(
        "config: config.yaml\nhyperparameter_sets: [{name: pooled, branches: [pooled], turns: 1, pooled_regularization: 0.1}]\n"
    )
    retrained = retrain(settings, say=lambda message: said.append(message.text))
    assert any(line.startswith("State: 6 defective images") for line in said)
    assert retrained.candidate is not None
    card = read_card(plant.registry.bundle_of(retrained.candidate, plant.config().cache_dir))
    assert (card.kind, read_card(plant.config().bundle_dir).kind) == ("classifier", "classifier")
