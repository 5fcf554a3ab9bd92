"""A small plant: parts with obvious defects, a project trained on them, and candidates derived from its model."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from defect_detection.config import Config, load_config
from defect_detection.data.pixels import decoded
from defect_detection.data.samples import Sample, scan
from defect_detection.data.split import load_splits
from defect_detection.inference.inspect import Inspector
from defect_detection.model.bundle import CARD_FILE, OPENVINO_FILE, read_card, write_card, write_trained_on
from defect_detection.model.card import Card
from defect_detection.tracking.reading import ModelRef
from defect_detection.tracking.registry import Registry
from defect_detection.tracking.runs import ExperimentRecorder
from defect_detection.use_cases.candidates import Candidate
from defect_detection.use_cases.train import keep

SIDE = 64  # px
# The first maps of the trunk suffice for these parts; without its later stages, all that is done with a model takes half of the time.
LEVELS = ("stem_relu", "level1")
_SCORES: dict[tuple[str, tuple[str, ...]], np.ndarray] = {}  # by the model's weights and the images
SETTINGS = f"""
data: {{image_size: {SIDE}}}
evaluation:
  bootstrap_repetitions: 20
  # 10 defective test images are too few for the escape guard's usual margin; a fresh process for each evaluation takes long
  gate: {{margin: 0.3, guards: [escapes, slices, parity, challenge]}}
training:
  cv_below: 0  # a validation split of its own; cross-validation has tests of its own
  epochs: 3
  batch_size: 16
  learning_rate: 0.01
  hyperparameter_sets:
    - {{name: both, levels: {list(LEVELS)}, hidden_units: 16, pooled_regularization: 0.1}}
    - {{name: pooled_only, levels: {list(LEVELS)}, branches: [pooled]}}
"""


def draw_part(rng: np.random.Generator, defective: bool) -> Image.Image:
    """Draw a gray, grainy part; a defective one has a black square on it."""
    pixels = rng.normal(150, 5, (SIDE, SIDE)) + np.linspace(-20, 20, SIDE)
    if defective:
        side = int(rng.integers(12, 20))
        x, y = rng.integers(0, SIDE - side, 2)
        pixels[y : y + side, x : x + side] = rng.normal(30, 5, (side, side))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def draw_parts(folder: Path, n_ok: int, n_defective: int, seed: int) -> None:
    """Write ``ok`` and ``hole`` below the folder."""
    rng = np.random.default_rng(seed)
    for name, count in (("ok", n_ok), ("hole", n_defective)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            draw_part(rng, name != "ok").save(folder / name / f"{seed}-{number:03}.png")


def with_threshold(card: Card, threshold: float) -> Card:
    point = card.operating_point.model_copy(update={"threshold": threshold})
    return card.model_copy(update={"operating_point": point})


@dataclass(frozen=True)
class Plant:
    """A project folder in which ``src/train.py`` has run."""

    root: Path

    @classmethod
    def build(cls, root: Path) -> "Plant":
        """Write settings and images; nothing is trained yet."""
        (root / "config.yaml").write_text(SETTINGS)
        draw_parts(root / "data/train", 30, 30, seed=1)
        draw_parts(root / "data/test", 10, 10, seed=2)
        return cls(root)

    def copy(self, root: Path) -> "Plant":
        """Copy the folder. The store of the copy corrects its own paths."""
        shutil.copytree(self.root, root, dirs_exist_ok=True)
        return Plant(root)

    def cached(self) -> dict[Path, int]:
        """Return the files of rows in the cache, with their sizes."""
        return {path: path.stat().st_size for path in self.root.glob("cache/**/*.rows")}

    def config(self, *overrides: str) -> Config:
        return load_config(self.root / "config.yaml", overrides)

    @property
    def registry(self) -> Registry:
        return Registry(self.config().tracking_uri)

    def in_production(self) -> ModelRef | None:
        return self.registry.version_of("Production_Reg", "prod")

    def in_testing(self) -> ModelRef | None:
        return self.registry.version_of("Testing_Reg", "re-train")

    def samples(self, split: str = "test") -> list[Sample]:
        """Return the images of the folder ``train`` or ``test``, or those that training keeps for ``validation``."""
        config = self.config()
        if split == "validation":
            return list(load_splits(config).validation)
        return scan(self.root / "data" / split, config.data.ok_classes)[0]

    def scores(self, split: str = "test") -> np.ndarray:
        """Return the trained model's scores of the same images."""
        config, samples = self.config(), self.samples(split)
        hashes = tuple(sample.sha256 for sample in samples)
        weights = (config.bundle_dir / OPENVINO_FILE).with_suffix(".bin").read_bytes()
        key = hashlib.sha256(weights).hexdigest(), hashes
        if key not in _SCORES:
            store, _ = decoded(samples, (SIDE, SIDE), config.cache_dir)
            _SCORES[key] = np.asarray(Inspector.load(config.bundle_dir).score(store.rows(hashes))["score"])
        return _SCORES[key].copy()

    def threshold_missing(self, n_escapes: int, split: str = "test") -> float:
        """Return a threshold at which so many of the defective images pass (and no OK one is rejected)."""
        labels = np.array([sample.label for sample in self.samples(split)])
        scores = np.sort(self.scores(split)[labels == 1])
        return float(scores[n_escapes - 1 : n_escapes + 1].mean())

    def candidate(
        self, threshold: float | None = None, trained_on: Sequence[Sample] | None = None
    ) -> Candidate:
        """Log the trained model as a run of its own, with another threshold or other training images on its card."""
        folder = self.root / "candidate"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.config().bundle_dir, folder)
        card = read_card(folder)
        if trained_on is not None:
            write_trained_on(folder, [sample.sha256 for sample in trained_on])
        card = card if threshold is None else with_threshold(card, threshold)
        (folder / CARD_FILE).unlink()
        write_card(folder, card)
        recorder = ExperimentRecorder(self.config().tracking_uri, "defect-detection")
        with recorder.trial("candidate", {"threshold": card.threshold}) as record:
            samples, scores = self.samples("validation"), self.scores("validation")
            by_hash = {one.sha256: float(score) for one, score in zip(samples, scores, strict=True)}
            return Candidate(card, folder, record.run_id, record.model(folder), by_hash)

    def make(self, threshold: float | None = None, trained_on: Sequence[Sample] | None = None) -> ModelRef:
        """Make such a candidate the one that evaluation looks at. The bundle folder stays the trained model's."""
        config = self.config(f"bundle_dir={self.root / 'kept'}")
        return keep(self.candidate(threshold, trained_on), config)
