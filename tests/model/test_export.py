"""Exported forms give the verdicts of the form that they were made from, or aren't written."""

import numpy as np
import pytest

from defect_detection.cli import main
from defect_detection.errors import BundleError, ConfigError
from defect_detection.inference.inspect import Inspector
from defect_detection.model.bundle import OPENVINO_FILE, read_card, read_golden, verify
from defect_detection.model.export import onnx_scores
from defect_detection.pipeline.export import _check_golden, compare, export


def test_onnx_gives_the_scores_of_keras(trained_once, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra `export` isn't installed")
    pytest.importorskip("tf2onnx", reason="the extra `export` isn't installed")
    folder, path = trained_once.config().bundle_dir, tmp_path / "new/model.onnx"
    found = export("onnx", folder, path, trained_once.config())
    assert (found.images, found.flips) == (8, 0)
    images, scores = read_golden(folder)
    np.testing.assert_allclose(onnx_scores(path, images), scores, atol=1e-4)
    np.testing.assert_allclose(onnx_scores(path, images[:1]), scores[:1], atol=1e-4)
    assert [left.name for left in path.parent.iterdir()] == ["model.onnx"]


def test_int8_is_a_bundle_that_inspects(plant, tmp_path):
    pytest.importorskip("nncf", reason="the extra `export` isn't installed")
    folder, output = plant.config().bundle_dir, tmp_path / "int8"
    found = export("int8", folder, output, plant.config())
    card = read_card(output)
    verify(output, card)
    assert card.name == read_card(folder).name + "-int8"
    assert (output / "model.bin").stat().st_size < (folder / "model.bin").stat().st_size
    assert "i8" in (output / OPENVINO_FILE).read_text()
    images, scores = read_golden(folder)
    inspector = Inspector.load(output)
    served = inspector.score(images)["score"]
    assert [card.verdict(float(score)) for score in served] == [
        card.verdict(float(score)) for score in scores
    ]
    assert 0 < found.difference < 0.5  # above 0: it is another form
    assert found.auroc == found.auroc_before == 1.0


def test_a_form_that_flips_a_golden_verdict_is_refused(trained_once, tmp_path):
    inspector = Inspector.load(trained_once.config().bundle_dir)
    images, scores = read_golden(trained_once.config().bundle_dir)
    with pytest.raises(BundleError, match="8 of 8 golden verdicts differ"):
        _check_golden(inspector, (images, 1 - scores), tmp_path)


def test_forms_are_compared_by_verdict_score_and_ranking(trained_once):
    card = read_card(trained_once.config().bundle_dir).model_copy(update={"threshold": 0.5})
    before, after = np.array([0.1, 0.4, 0.9]), np.array([0.1, 0.6, 0.55])
    found = compare(card, before, after, np.array([0, 0, 1]))
    assert (found.images, found.flips, found.auroc_before, found.auroc) == (3, 1, 1.0, 0.5)
    assert found.difference == pytest.approx(0.35)


def test_another_form_or_size_is_an_error(trained_once, tmp_path):
    folder = trained_once.config().bundle_dir
    with pytest.raises(ConfigError, match="tflite: expected onnx or int8"):
        export("tflite", folder, tmp_path / "out", trained_once.config())
    with pytest.raises(ConfigError, match=r"data\.image_size: expected the model's, 64, received 128"):
        export("int8", folder, tmp_path / "out", trained_once.config("data.image_size=128"))
    assert list(tmp_path.iterdir()) == []


def test_the_verb_says_how_far_scores_move(plant, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime", reason="the extra `export` isn't installed")
    pytest.importorskip("tf2onnx", reason="the extra `export` isn't installed")
    monkeypatch.chdir(plant.root)
    assert main(["export", "onnx", "--output", "model.onnx"]) == 0
    assert "0 of 8 verdicts differ, scores by up to " in capsys.readouterr().out
