"""Exported forms give the same verdicts as their model, or are not written."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from plant import draw_part, with_threshold

from defect_detection.cli import main
from defect_detection.errors import BundleError, ConfigError
from defect_detection.inference.inspect import Inspector
from defect_detection.model.bundle import (
    CARD_FILE,
    OPENVINO_FILE,
    read_card,
    read_golden,
    verify,
    write_card,
    write_golden,
)
from defect_detection.model.card import Card
from defect_detection.model.parity import MOST_DIFFERENCE
from defect_detection.model.seal import checksum
from defect_detection.use_cases.export import MANIFEST, Loss, _loss, _require_no_loss, _required, export
from defect_detection.use_cases.parity import litert_scorer, onnx_scorer, openvino_scorer

DOCUMENT = Path(__file__).parents[2] / "docs/export.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
SCORERS = {
    "onnx": ("model.onnx", onnx_scorer),
    "litert": ("model.tflite", litert_scorer),
    "openvino": (OPENVINO_FILE, openvino_scorer),
}


@pytest.mark.parametrize("form", SCORERS)
def test_an_export_gives_the_scores_of_keras_not_of_hidden_pixels_and_carries_the_card(
    form, exported, both_branches, hidden_corner
):
    bundle = both_branches
    folder, done = exported(form)
    assert (done.parity.images, done.parity.flips, done.loss) == (8, 0, None)
    assert done.parity.difference < 1e-4
    name, scorer = SCORERS[form]
    score, (images, scores) = scorer(folder / name), read_golden(bundle)
    np.testing.assert_allclose(score(images)["score"], scores, atol=1e-4)
    np.testing.assert_allclose(score(images[:1])["score"], scores[:1], atol=1e-4)
    other = images.copy()
    other[:, ~hidden_corner.shown] ^= 255
    for name_of_output, values in score(images).items():
        np.testing.assert_array_equal(score(other)[name_of_output], values)
    card = Card.model_validate_json((folder / CARD_FILE).read_text())
    assert card.threshold == read_card(bundle).threshold
    of_files = {name: one for name, one in card.checksums.items() if name != CARD_FILE}
    assert of_files == {
        path.name: checksum(path) for path in folder.iterdir() if path.name not in (CARD_FILE, MANIFEST)
    }
    assert name in card.checksums


def test_openvino_in_8_bits_is_a_bundle_that_inspects(exported, masked):
    bundle = masked[0].config().bundle_dir
    folder, done = exported("openvino", int8=True)
    card = read_card(folder)
    verify(folder, card)
    assert card.name == read_card(bundle).name + "-int8"
    assert (folder / "model.bin").stat().st_size < (bundle / "model.bin").stat().st_size
    assert "i8" in (folder / OPENVINO_FILE).read_text()
    images, scores = read_golden(bundle)
    served = Inspector.load(folder).score(images)["score"]
    assert [card.verdict(float(score)) for score in served] == [
        card.verdict(float(score)) for score in scores
    ]
    assert 0 < done.parity.difference < 0.15  # above 0: it is another form
    assert done.loss.auroc == done.loss.auroc_before == 1.0


def test_onnx_in_8_bits_is_smaller_and_gives_the_same_verdicts(exported, masked):
    bundle = masked[0].config().bundle_dir
    images, scores = read_golden(bundle)
    folder, done = exported("onnx", int8=True)
    assert [path.name for path in sorted(folder.iterdir())] == [MANIFEST, CARD_FILE, "model.onnx"]
    whole, small = (
        (place / name).stat().st_size for place, name in ((bundle, "model.bin"), (folder, "model.onnx"))
    )
    assert whole - small > 2.5 * sum(kernel.size for kernel in kernels_in(folder)), "1 byte in place of 4"
    assert (done.parity.flips, done.loss.flips) == (0, 0)
    moved = np.abs(onnx_scorer(folder / "model.onnx")(images)["score"] - scores).max()
    assert done.parity.difference == pytest.approx(moved)
    assert 0 < moved <= MOST_DIFFERENCE["int8"]


def test_onnx_in_8_bits_gives_the_same_scores_on_every_processor(exported):
    """Two products of 8-bit values must fit into 16 bits: where they do not, processors without VNNI cut them off."""
    kernels = kernels_in(exported("onnx", int8=True)[0])
    assert len(kernels) == 9, "a stem, and four of each stage"
    assert max(int(np.abs(kernel.astype(int)).max()) for kernel in kernels) <= 64


def kernels_in(folder: Path) -> list[np.ndarray]:
    """Return the 8-bit kernels of the convolutions in an exported ONNX file."""
    import onnx

    constants = map(onnx.numpy_helper.to_array, onnx.load(folder / "model.onnx").graph.initializer)
    return [one for one in constants if one.dtype == np.int8 and one.ndim == 4]


@pytest.mark.parametrize("number", range(4), ids=["onnx", "litert", "openvino", "int8"])
def test_the_examples_of_the_document_run_and_agree_with_inspection(
    number, exported, both_branches, tmp_path, monkeypatch, capsys
):
    form, int8 = [("onnx", False), ("litert", False), ("openvino", False), ("openvino", True)][number]
    folder, _ = exported(form, int8)
    (tmp_path / "exported").symlink_to(folder.parent)
    draw_part(np.random.default_rng(7), defective=True).resize((150, 100)).save(tmp_path / "part.png")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()  # what nncf says while it exports, where this test is the first to do so
    exec(EXAMPLES[number], {})
    verdict, score = capsys.readouterr().out.split()
    model = folder if int8 else both_branches
    (expected,) = Inspector.load(model).inspect([tmp_path / "part.png"])
    assert verdict == expected.verdict
    assert float(score) == pytest.approx(expected.score, abs=1e-4)
    assert len(list(filter(None, EXAMPLES[number].splitlines()))) <= 10
    assert len(EXAMPLES) == 4


def test_a_form_that_flips_a_golden_verdict_is_not_written(plant, tmp_path):
    bundle, output = plant.config().bundle_dir, tmp_path / "out"
    flip_golden(bundle)
    with pytest.raises(BundleError, match="Not exported: openvino f32: 8 of 8 verdicts differ from Keras"):
        export("openvino", bundle, output, plant.config())
    assert not output.exists()


def test_a_form_in_8_bits_that_flips_a_golden_verdict_is_refused_too(masked, exported, tmp_path):
    bundle = shutil.copytree(masked[0].config().bundle_dir, tmp_path / "bundle")
    flip_golden(bundle)
    score = openvino_scorer(exported("openvino", int8=True)[0] / OPENVINO_FILE)
    with pytest.raises(BundleError, match="Not exported: openvino int8: 8 of 8 verdicts differ from Keras"):
        _required(bundle, score, "openvino", "int8")


def flip_golden(bundle: Path) -> None:
    images, scores = read_golden(bundle)
    write_golden(bundle, images, 1 - scores)
    write_card(bundle, read_card(bundle))


def test_what_8_bits_cost_is_measured_on_labelled_images(trained_once):
    card = with_threshold(read_card(trained_once.config().bundle_dir), 0.5)
    loss = _loss(card, np.array([0.1, 0.4, 0.9]), np.array([0.1, 0.6, 0.55]), np.array([0, 0, 1]))
    assert (loss.images, loss.flips, loss.auroc_before, loss.auroc) == (3, 1, 1.0, 0.5)
    assert loss.difference == pytest.approx(0.35)


@pytest.mark.parametrize(("flips", "auroc"), [(1, 0.99), (0, 0.984), (0, float("nan"))])
def test_8_bits_that_change_a_verdict_or_rank_worse_are_refused(flips, auroc):
    with pytest.raises(BundleError, match=f"{flips} of 900 verdicts differ"):
        _require_no_loss(Loss(900, flips, 0.3, 0.99, auroc))
    _require_no_loss(Loss(900, 0, 0.3, 0.99, 0.986))


def test_what_is_not_offered_is_an_error_and_nothing_is_written(trained_once, tmp_path):
    config, output = trained_once.config(), tmp_path / "out"
    with pytest.raises(ConfigError, match="--format: expected onnx, litert, openvino, received tflite"):
        export("tflite", config.bundle_dir, output, config)
    with pytest.raises(ConfigError, match="--int8: expected the format openvino or onnx, received litert"):
        export("litert", config.bundle_dir, output, config, int8=True)
    with pytest.raises(ConfigError, match=r"data\.image_size: expected the model's, 64, received 128"):
        other = trained_once.config("data.image_size=128")
        export("openvino", config.bundle_dir, output, other, int8=True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_else_in_it_is_not_replaced(trained_once, exported, tmp_path):
    config = trained_once.config()
    (tmp_path / "mine.txt").write_text("keep")
    for output, received in ((tmp_path, "a folder without export.json"), (tmp_path / "mine.txt", "a file")):
        with pytest.raises(ConfigError, match=f"empty folder or an earlier export, received {received}"):
            export("openvino", config.bundle_dir, output, config)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_a_model_folder_is_not_replaced_by_an_export(trained_once, tmp_path):
    config = trained_once.config()
    source = shutil.copytree(config.bundle_dir, tmp_path / "models/source")
    other = shutil.copytree(config.bundle_dir, tmp_path / "other")
    before = sorted(path for path in tmp_path.rglob("*"))
    for output, told in (
        (config.bundle_dir, "folder of the model"),
        (source, "folder of the model"),
        (source.parent, "folder of the model|contains the model|models"),
        (other, "a folder without export.json"),
    ):
        with pytest.raises(ConfigError, match=told):
            export("openvino", source, output, config)
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_an_earlier_export_is_replaced_unless_something_else_lies_in_it(trained_once, exported, tmp_path):
    config, output = trained_once.config(), tmp_path / "out"
    shutil.copytree(exported("openvino")[0], output)
    export("openvino", config.bundle_dir, output, config)
    assert {path.name for path in output.iterdir()} == {CARD_FILE, MANIFEST, "model.bin", OPENVINO_FILE}
    for name in ("notes.txt", CARD_FILE):
        shutil.rmtree(output)
        shutil.copytree(exported("openvino")[0], output)
        (output / name).write_text("mine")
        with pytest.raises(ConfigError, match=f"a folder with {name}"):
            export("openvino", config.bundle_dir, output, config)
        assert (output / name).read_text() == "mine"


def test_the_verb_says_how_far_scores_move(trained_once, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = str(trained_once.root / "config.yaml")
    assert main(["export", "--format", "openvino", "--output", "out", "--config", settings]) == 0
    printed = capsys.readouterr().out
    assert "openvino f32: 0 of 8 verdicts differ from Keras, scores by up to " in printed
    assert "Wrote out. How to use it: docs/export.md" in printed
