"""A model of tiles is trained and judged by part, finds defects without masks, and is used as any other."""

import json

import numpy as np
import pytest
from PIL import Image

from defect_detection.cli import main
from defect_detection.data.samples import labels_of
from defect_detection.data.split import load_splits
from defect_detection.data.units import parts_of
from defect_detection.inference.inspect import Inspector
from defect_detection.model.bundle import read_card
from defect_detection.training.bundling import save_trial
from defect_detection.training.tiles import Candidates, tile_splits
from defect_detection.training.trial import run_trial
from defect_detection.use_cases.checks import check_servable
from defect_detection.use_cases.parity import check_parity
from defect_detection.use_cases.scoring import seen_in_tiles


def spotted(folder):
    """Make every second hole a bright spot, which is another type."""
    (folder / "spot").mkdir()
    for path in sorted((folder / "hole").iterdir())[::2]:
        pixels = np.asarray(Image.open(path))
        Image.fromarray(np.where(pixels < 80, np.uint8(250), pixels)).save(folder / "spot" / path.name)
        path.unlink()


@pytest.mark.parametrize("mode", ["supervised", "one_class"])
def test_a_model_of_tiles_is_trained_checked_and_used(plant, tmp_path, capsys, mode):
    if mode == "supervised":
        spotted(plant.root / "data/train")
        spotted(plant.root / "data/test")
    config = plant.config("data.tiles={size: 32, overlap: 0}", f"training.mode={mode}")
    splits = load_splits(config)
    settings = config.training.resolved(config.training.hyperparameter_sets[1])
    trial = run_trial(settings, splits, config, lambda *_: None)
    assert set(trial.validation) == set(splits.validation)  # images, not tiles
    bundle = tmp_path / "tiled"
    save_trial(trial, splits, config, bundle)

    card, inspector = read_card(bundle), Inspector.load(bundle)
    assert card.image_size == 32 and card.tile_rule
    found = list(inspector.inspect([sample.path for sample in splits.test]))
    scores, labels = np.array([one.score for one in found]), labels_of(splits.test)
    assert scores[labels == 1].mean() > scores[labels == 0].mean() + (0.3 if mode == "supervised" else 0)
    assert {one.evidence.shape for one in found} == {(4, 4)}
    assert inspector.inspect_one(splits.test[0].path.read_bytes()).score == pytest.approx(scores[0], abs=1e-6)
    if mode == "supervised":
        assert check_servable(bundle).passed
        caught = [
            (one.defect_type, sample.defect_type) for one, sample in zip(found, splits.test, strict=True)
        ]
        caught = [pair for pair in caught if pair[1] and pair[0]]
        assert len(caught) >= 8 and np.mean([named == true for named, true in caught]) >= 0.9
        assert card.types.names == ("hole", "spot") and card.types.unknown.total == len(
            [one for one in splits.validation if one.label]
        )
        named = seen_in_tiles(inspector, [sample.path for sample in splits.test], config)["named"]
        assert {"hole", "spot"} <= set(named) <= {"hole", "spot", "unknown"}
    assert all(one.allowed for one in check_parity(bundle, ["pyfunc", "openvino"]))

    Image.new("L", (20, 20)).save(tmp_path / "small.png")
    command = ["inspect", "--json", "--model", str(bundle), "--config", str(tmp_path / "none.yaml")]
    assert main([*command, str(splits.test[0].path), str(tmp_path / "small.png")]) == 3
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["score"] == pytest.approx(scores[0], abs=1e-6)
    assert "expected at least 32 x 32 px, the size of a tile" in lines[1]["error"]


def test_tiles_of_a_part_stay_in_its_fold(trained_once):
    splits = load_splits(trained_once.config("training.cv_below=5000"))
    candidates = [Candidates((0, 3))] * len(splits.samples)
    taken = [one.numbers for one in candidates]
    tiled = tile_splits(splits, candidates, splits.pixels, taken)
    folds = {}
    for part, fold in zip(parts_of(tiled.samples), tiled.fold.tolist(), strict=True):
        assert folds.setdefault(part, fold) == fold
    assert len(tiled.samples) == 2 * len(splits.samples) and tiled.folds == tuple(np.repeat(splits.folds, 2))
