"""A model of tiles is trained and judged by part, finds defects without masks, and is used as any other."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from done_once import built_once, compiled_once, drawn_once, newest_tables_found_once  # noqa: F401  fixtures
from once import made_once
from PIL import Image
from plant import Plant

from defect_detection.cli import main
from defect_detection.config import Config, load_retrain_config
from defect_detection.data.parts import parts_of
from defect_detection.data.samples import Sample, labels_of
from defect_detection.data.split import Splits, load_splits
from defect_detection.errors import ConfigError
from defect_detection.inference.inspect import Inspector
from defect_detection.model.bundle import read_card
from defect_detection.retraining.start import Start, find_start
from defect_detection.tracking.runs import ExperimentRecorder
from defect_detection.training.bundling import describe, save_trial
from defect_detection.training.tiles import CandidateTiles, tile_splits
from defect_detection.training.trial import run_trial
from defect_detection.use_cases.candidates import Candidate
from defect_detection.use_cases.checks import check_servable
from defect_detection.use_cases.evaluate import evaluate
from defect_detection.use_cases.parity import check_parity
from defect_detection.use_cases.scoring import _small, seen_in_tiles
from defect_detection.use_cases.train import keep


def spotted(folder):
    """Make every second hole a bright spot, which is another type."""
    (folder / "spot").mkdir()
    for path in sorted((folder / "hole").iterdir())[::2]:
        pixels = np.asarray(Image.open(path))
        Image.fromarray(np.where(pixels < 80, np.uint8(250), pixels)).save(folder / "spot" / path.name)
        path.unlink()


@dataclass(frozen=True)
class Tiled:
    """A plant, and a model of tiles that is trained on its images."""

    plant: Plant
    config: Config
    splits: Splits
    judged: tuple[Sample, ...]
    bundle: Path
    mode: str

    def copy(self, root: Path) -> "Tiled":
        """Copy the folder, for a test that changes it."""
        plant = self.plant.copy(root)
        config = plant.config(*_overrides(self.mode))
        return replace(self, plant=plant, config=config, splits=load_splits(config), bundle=root / "tiles")


@pytest.fixture(scope="module", params=["supervised", "one_class"])
def tiled(request, trained_once, tmp_path_factory) -> Tiled:
    def make(root: Path) -> tuple[Sample, ...]:
        plant = trained_once.copy(root)
        if mode == "supervised":
            spotted(root / "data/train")
            spotted(root / "data/test")
        else:  # on each tile of an OK part several defects are drawn
            for path in sorted((root / "data/train/ok").iterdir())[10:]:
                path.unlink()
        config = plant.config(*_overrides(mode))
        splits, settings = load_splits(config), config.training.hyperparameter_sets[1]
        trial = run_trial(config.training.resolved(settings), splits, config, lambda *_: None)
        save_trial(trial, splits, config, root / "tiles")
        return trial.validation

    mode = request.param
    root, judged = made_once(tmp_path_factory, f"tiled-{mode}", make)
    config = Plant(root).config(*_overrides(mode))
    return Tiled(Plant(root), config, load_splits(config), judged, root / "tiles", mode)


def _overrides(mode: str) -> tuple[str, ...]:
    return "data.tiles={size: 32, overlap: 0}", f"training.mode={mode}"


with_types = pytest.mark.parametrize("tiled", ["supervised"], indirect=True)


def test_a_model_of_tiles_is_trained_checked_and_used(tiled, tmp_path, capsys):
    splits, bundle = tiled.splits, tiled.bundle
    assert set(tiled.judged) == set(splits.validation)  # images, not tiles
    card, inspector = read_card(bundle), Inspector.load(bundle)
    assert card.image_size == 32 and card.tile_rule
    found = list(inspector.inspect([sample.path for sample in splits.test]))
    scores, labels = np.array([one.score for one in found]), labels_of(splits.test)
    apart = 0.3 if tiled.mode == "supervised" else 0
    assert scores[labels == 1].mean() > scores[labels == 0].mean() + apart
    assert {one.evidence.shape for one in found} == {(4, 4)}
    assert inspector.inspect_one(splits.test[0].path.read_bytes()).score == pytest.approx(scores[0], abs=1e-6)
    if tiled.mode == "supervised":
        assert check_servable(bundle).passed
    assert all(one.allowed for one in check_parity(bundle, ["pyfunc", "openvino"]))

    Image.new("L", (20, 20)).save(tmp_path / "small.png")
    command = ["inspect", "--json", "--model", str(bundle), "--config", str(tmp_path / "none.yaml")]
    assert main([*command, str(splits.test[0].path), str(tmp_path / "small.png")]) == 3
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert lines[0]["score"] == pytest.approx(scores[0], abs=1e-6)
    assert "expected at least 32 x 32 px, the size of a tile" in lines[1]["error"]
    assert printed.err.splitlines()[0] == f"tiles: {splits.test[0].path} 4/4"


@with_types
def test_the_types_of_tiles_become_those_of_images(tiled):
    splits, inspector = tiled.splits, Inspector.load(tiled.bundle)
    rule = inspector.card.types
    assert rule.names == ("hole", "spot")
    assert rule.unknown.total == sum(labels_of(splits.validation))  # images, not tiles
    found = inspector.inspect([sample.path for sample in splits.test])
    named = [
        (one.defect_type, true.defect_type)
        for one, true in zip(found, splits.test, strict=True)
        if true.label
    ]
    caught = [(name, true) for name, true in named if name]
    assert len(caught) >= 8 and np.mean([name == true for name, true in caught]) >= 0.8
    of_report = seen_in_tiles(inspector, [sample.path for sample in splits.test], tiled.config)["named"]
    assert {"hole", "spot"} <= set(of_report) <= {"hole", "spot", "unknown"}


@with_types
def test_a_model_of_tiles_is_evaluated_and_promoted(tiled, tmp_path):
    tiled = tiled.copy(tmp_path)
    card, recorder = read_card(tiled.bundle), ExperimentRecorder(tiled.config.tracking_uri, "tiles")
    with recorder.trial("tiles", {}) as record:
        uri = record.model(tiled.bundle)
    scores = dict.fromkeys((sample.sha256 for sample in tiled.splits.validation), 0.5)
    keep(Candidate(card, tiled.bundle, record.run_id, uri, scores), tiled.config)
    evaluated = evaluate(tiled.config)
    assert evaluated.decision.outcome == "promote", evaluated.decision.reasons
    assert evaluated.report.unseen.drawn is None


def test_the_strongest_cell_of_a_map_stays_where_it_is_in_a_report():
    small, large = np.zeros((9, 12)), np.zeros((112, 56))
    small[7, 4] = large[100, 30] = 1
    assert np.array_equal(_small(small, (56, 56)), small)
    fitted = _small(large, (56, 56))
    assert fitted.shape == (56, 56) and fitted[50, 30] == fitted.sum() == 1


@with_types
def test_a_retraining_from_a_model_of_tiles_sees_tiles_too(tiled, tmp_path):
    tiled = tiled.copy(tmp_path)
    plant, registry = tiled.plant, tiled.plant.registry
    recorder = ExperimentRecorder(tiled.config.tracking_uri, "tiles")
    with recorder.trial("tiles", {}) as record:
        version = registry.register(record.model(tiled.bundle), "Production_Reg")
    registry.set_alias("Production_Reg", "prod", version.version)
    (plant.root / "re_train").mkdir(exist_ok=True)
    file = plant.root / "re_train/re_train.yaml"
    file.write_text("start_from: registry\n")
    settings, lines = load_retrain_config(file), []

    def start(*overrides: str) -> Start:
        return find_start(settings, plant.config(*overrides), registry, overrides, lines.append)

    with pytest.raises(
        ConfigError, match=r"override: data\.tiles\.overlap: expected none, because a retraining"
    ):
        start("data.tiles.overlap=32")
    begun = start()
    assert "Tiles: {size: 32, overlap: 0, scale: 1.0} as in the base model, instead of null" in [
        line.text for line in lines
    ]
    assert not any(line.text.startswith("Image size") for line in lines)
    splits = load_splits(begun.config, framing=begun.framing)
    trial = run_trial(begun.sets[0], splits, begun.config, lambda *_: None, base=begun.trunk())
    card = describe(trial, splits, begun.config)
    assert (card.framing, card.trunk_fingerprint) == (
        begun.framing,
        read_card(tiled.bundle).trunk_fingerprint,
    )
    assert card.types.names == ("hole", "spot")


def test_tiles_of_a_part_stay_in_its_fold(trained_once):
    splits = load_splits(trained_once.config("training.cv_below=5000"))
    candidates = [CandidateTiles((0, 3))] * len(splits.samples)
    taken = [one.numbers for one in candidates]
    tiled = tile_splits(splits, candidates, splits.pixels, taken)
    folds = {}
    for part, fold in zip(parts_of(tiled.samples), tiled.fold.tolist(), strict=True):
        assert folds.setdefault(part, fold) == fold
    assert len(tiled.samples) == 2 * len(splits.samples) and tiled.folds == tuple(np.repeat(splits.folds, 2))
