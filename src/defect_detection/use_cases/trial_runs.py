"""Run one trial as one MLflow run, with its parameters, data, metrics and figures."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defect_detection.config import Config
from defect_detection.config.training import HyperparameterSet
from defect_detection.data.manifest import NAME as MANIFEST
from defect_detection.data.samples import labels_of
from defect_detection.data.split import Splits
from defect_detection.processes.watch import Follow, Watch
from defect_detection.tracking.runs import ExperimentRecorder, TrialRecord
from defect_detection.use_cases.engine import HERE, Engine

if TYPE_CHECKING:
    from defect_detection.model.card import Card
    from defect_detection.model.trunks import Trunk
    from defect_detection.training.trial import Fits, Trial

# MLflow shows the value of the highest step as the run's own. `val_auroc` is that of the whole model, logged at the end.
_EPOCH_NAMES = {"val_auroc": "local_val_auroc"}


@dataclass(frozen=True)
class Bench:
    """What all trials of an experiment share.

    base: gives the trunk that each starts from instead of its own. tags: for every run. parent: id of the run above theirs.
    fits: branches that the trials share. diverged: why each set that diverged did, by its name; trials add to it.
    engine: where trials run.
    """

    splits: Splits
    config: Config
    recorder: ExperimentRecorder
    watch: Watch
    base: "Callable[[], Trunk] | None" = None
    tags: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None
    fits: "Fits | None" = None
    diverged: dict[str, str] = field(default_factory=dict)
    engine: Engine = HERE

    @contextmanager
    def recorded(self, settings: HyperparameterSet) -> Iterator[TrialRecord]:
        """Record the block as the MLflow run of one set, with its training data."""
        with self.recorder.trial(
            settings.name, self.params(settings), self.tags, parent=self.parent
        ) as record:
            record_data(record, self.splits, self.config)
            yield record

    def params(self, settings: HyperparameterSet) -> dict[str, Any]:
        """Return the parameters of the run of a set."""
        shared = {"seed": self.config.seed, "image_size": self.splits.framing.image_size}
        return shared | settings.model_dump(mode="json")

    def run(
        self, settings: HyperparameterSet, record: TrialRecord, watch: Follow, folder: Path | None = None
    ) -> "tuple[Trial, Card | None]":
        """Train one set. Its progress is logged to its run and passed to `watch`, which may stop it with an exception.

        Args:
            folder: for its bundle; None for none, which returns no card.
        """

        def follow(phase: str, done: int, total: int, metrics: Mapping[str, float] | None = None) -> None:
            if metrics:
                record.metrics({_EPOCH_NAMES.get(key, key): v for key, v in metrics.items()}, step=done)
            watch(phase, done, total, metrics)

        return self.engine.trial(settings, self, follow, folder)


def record_data(record: TrialRecord, splits: Splits, config: Config) -> None:
    """Log the configuration, the images of each split with their manifest, and the skipped images."""
    record.text("config.json", config.model_dump_json(indent=2))
    for name, samples, fingerprint in (
        ("train", splits.train, splits.train_fingerprint),
        ("validation", splits.validation, splits.validation_fingerprint),
        ("test", splits.test, splits.test_fingerprint),
    ):
        source = str(config.data.test_dir if name == "test" else config.data.train_dir)
        defective = sum(sample.label for sample in samples)
        record.dataset(name, fingerprint, source=source, images=len(samples), defective=defective)
    if splits.manifest:
        record.text(MANIFEST, splits.manifest.text)
    if splits.skipped:
        record.text("skipped.txt", "".join(f"{item}\n" for item in splits.skipped))


def record_figures(record: TrialRecord, trial: "Trial", bench: Bench, bundle: Path) -> None:
    """Log the curves, the confusion matrix and the worst validation images with their evidence maps."""
    import numpy as np

    from defect_detection.inference.inspect import Inspector
    from defect_detection.report import figures
    from defect_detection.use_cases.scoring import seen_in_tiles

    metrics, samples = trial.metrics, trial.validation
    if trial.history:
        record.figure("training_curves", figures.training_curves(trial.history))
    record.figure(
        "confusion_matrix", figures.confusion_matrix(metrics.tp, metrics.fp, metrics.tn, metrics.fn)
    )
    labels = labels_of(samples)
    worst = np.argsort(-np.abs(trial.scores - labels))[:6]
    images = bench.splits.pixels.rows([samples[i].sha256 for i in worst])
    inspector = Inspector.load(bundle)
    evidence: Any = inspector.score(images)["evidence"] if not inspector.card.tile_rule else None
    if evidence is None:
        paths = [samples[i].path for i in worst]
        evidence = seen_in_tiles(inspector, paths, bench.config)["evidence"]
    tiles = [
        figures.SheetTile(image, map_, f"{samples[i].defect_type or 'ok'} · score {trial.scores[i]:.2f}")
        for i, image, map_ in zip(worst, images, evidence, strict=True)
    ]
    record.figure("worst_images", figures.contact_sheet(tiles))
