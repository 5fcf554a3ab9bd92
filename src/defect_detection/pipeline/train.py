"""Train every hyperparameter set, track each as a run, and keep the best by validation."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from defect_detection.config import Config, HyperparameterSet
from defect_detection.data.cache_folder import bound
from defect_detection.data.split import Splits, load_splits
from defect_detection.model.bundle import KERAS_FILE, Card, new_folder
from defect_detection.pipeline.watch import Watch, unwatched
from defect_detection.tracking.best_model import BestModelInfo
from defect_detection.tracking.registry import ModelRef, Registry
from defect_detection.tracking.runs import ExperimentRecorder, TrialRecord

if TYPE_CHECKING:
    from defect_detection.model.trunks import Trunk
    from defect_detection.training.trial import Trial

METRIC = "val_auroc"


@dataclass(frozen=True)
class Candidate:
    """The best trial of an experiment: its bundle lies in `folder` until it is kept."""

    card: Card
    folder: Path
    run_id: str
    model_uri: str

    @property
    def value(self) -> float:
        """What it is chosen by: validation AUROC."""
        return self.card.validation["auroc"]

    @property
    def rank(self) -> tuple[float, float]:
        """The higher the better: by AUROC, and where that is equal by log loss."""
        return self.value, -self.card.validation["log_loss"]


@dataclass(frozen=True)
class Trained:
    """What training came to: one row of figures per set, in their order, and what was kept."""

    validation: dict[str, dict[str, float]]
    best: str
    value: float
    reference: ModelRef
    bundle: Path
    skipped: int


def train(config: Config, watch: Watch = unwatched) -> Trained:
    """Train all sets of ``training.hyperparameter_sets`` and keep the best.

    Each set is one MLflow run. The best by validation AUROC goes to ``bundle_dir`` and to the registry as a new version of
    ``mlflow.registered_model_name``; ``best_model_info`` names it. An interrupted training leaves all of these as they were.

    Raises:
        DataError, LeakageError, ConfigError, TrackingError: nothing was kept; the text says why.
    """
    recorder = ExperimentRecorder(config.tracking_uri, config.mlflow.experiment_name)
    splits = load_splits(config, lambda done, total: watch("reading images", "decoding", done, total))
    sets = [config.training.resolved(one) for one in config.training.hyperparameter_sets]
    with tempfile.TemporaryDirectory(prefix="defect-") as folder:
        best, figures = train_sets(sets, splits, config, recorder, Path(folder), watch)
        watch("keeping the best", best.card.name, 0, 1)
        reference = keep(best, config)
        watch("keeping the best", best.card.name, 1, 1)
    return Trained(figures, best.card.name, best.value, reference, config.bundle_dir, len(splits.skipped))


def train_sets(
    sets: Sequence[HyperparameterSet],
    splits: Splits,
    config: Config,
    recorder: ExperimentRecorder,
    folder: Path,
    watch: Watch,
    *,
    base: "Callable[[], Trunk] | None" = None,
    tags: Mapping[str, str] | None = None,
) -> tuple[Candidate, dict[str, dict[str, float]]]:
    """Train hyperparameter sets, one run each, into bundles below `folder`. Return the best and all validation figures.

    Args:
        base: gives the trunk that each set starts from instead of its own: a fresh one, since fine-tuning changes it.
        tags: for every run.
    """
    best: Candidate | None = None
    figures = {}
    for settings in sets:
        candidate = _train_one(
            settings, splits, config, recorder, folder / settings.name, watch, base, tags or {}
        )
        figures[settings.name] = candidate.card.validation
        loser: Candidate | None = candidate
        if best is None or candidate.rank > best.rank:
            best, loser = candidate, best
        if loser:
            shutil.rmtree(loser.folder)
        bound(config.cache_dir, config.cache_max_gb)
    assert best is not None  # the configuration holds at least one set
    return best, figures


def _train_one(
    settings: HyperparameterSet,
    splits: Splits,
    config: Config,
    recorder: ExperimentRecorder,
    folder: Path,
    watch: Watch,
    base: "Callable[[], Trunk] | None",
    tags: Mapping[str, str],
) -> Candidate:
    from defect_detection.training.experiment import save_trial
    from defect_detection.training.trial import run_trial

    task = f"training {settings.name}"
    params = {"seed": config.seed, "image_size": config.data.image_size, **settings.model_dump(mode="json")}
    with recorder.trial(settings.name, params, tags) as record:
        _record_data(record, splits, config)

        def follow(phase: str, done: int, total: int, metrics: Mapping[str, float] | None = None) -> None:
            if metrics:
                record.metrics(metrics, step=done)
            watch(task, phase, done, total, metrics)

        trial = run_trial(settings, splits, config, follow, base and base())
        watch(task, "saving", 0, 2)
        card = save_trial(trial, splits, config, folder)
        watch(task, "saving", 1, 2)
        _record_figures(record, trial, splits, config, folder)
        record.metrics(
            {f"val_{name}": value for name, value in card.validation.items()} | {"seconds": trial.seconds}
        )
        uri = record.model(folder)
        watch(task, "saving", 2, 2, {METRIC: trial.metrics.auroc.value})
    return Candidate(card, folder, record.run_id, uri)


def _record_data(record: TrialRecord, splits: Splits, config: Config) -> None:
    record.text("config.json", config.model_dump_json(indent=2))
    for name, samples, fingerprint in (
        ("train", splits.train, splits.train_fingerprint),
        ("validation", splits.validation, splits.validation_fingerprint),
        ("test", splits.test, splits.test_fingerprint),
    ):
        source = str(config.data.test_dir if name == "test" else config.data.train_dir)
        defective = sum(sample.label for sample in samples)
        record.dataset(name, fingerprint, source=source, images=len(samples), defective=defective)
    if splits.skipped:
        record.text("skipped.txt", "".join(f"{item.path}: {item.reason}\n" for item in splits.skipped))


def _record_figures(
    record: TrialRecord, trial: "Trial", splits: Splits, config: Config, folder: Path
) -> None:
    """Log the curves, the confusion matrix and the worst validation images with their evidence maps."""
    import numpy as np

    from defect_detection.evaluation import figures
    from defect_detection.inference.inspect import Inspector

    metrics = trial.metrics
    if trial.history:
        record.figure("training_curves", figures.training_curves(trial.history))
    record.figure(
        "confusion_matrix", figures.confusion_matrix(metrics.tp, metrics.fp, metrics.tn, metrics.fn)
    )
    labels = np.array([sample.label for sample in splits.validation])
    worst = np.argsort(-np.abs(trial.scores - labels))[:6]
    images = splits.pixels.rows([splits.validation[i].sha256 for i in worst])
    evidence = Inspector.load(folder).score(images)["evidence"]
    tiles = [
        figures.Tile(image, map_, f"{splits.validation[i].defect_type or 'ok'} · score {trial.scores[i]:.2f}")
        for i, image, map_ in zip(worst, images, evidence, strict=True)
    ]
    record.figure("worst_images", figures.contact_sheet(tiles))


def keep(candidate: Candidate, config: Config) -> ModelRef:
    """Make a candidate the one that evaluation looks at: the registry, its bundle, and last the file that names it.

    When the registry can't be reached, the bundle and the file stay what they were.
    """
    tags = {"hyperparameter_set": candidate.card.name, METRIC: f"{candidate.value:.4f}"}
    with new_folder(config.bundle_dir) as partial:
        shutil.copytree(candidate.folder, partial, dirs_exist_ok=True)
        reference = Registry(config.tracking_uri).register(
            candidate.model_uri, config.mlflow.registered_model_name, tags
        )
    path = config.bundle_dir / KERAS_FILE
    BestModelInfo(candidate.run_id, path, candidate.model_uri, METRIC, candidate.value).write(
        config.best_model_info
    )
    return reference
