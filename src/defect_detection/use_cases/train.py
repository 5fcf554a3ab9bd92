"""Train every hyperparameter set as an MLflow run, and keep the best on validation."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from defect_detection.config import Config
from defect_detection.config.training import HyperparameterSet
from defect_detection.data.cache_folder import bound
from defect_detection.data.in_training import in_training
from defect_detection.data.parts import parts_of
from defect_detection.data.samples import labels_of
from defect_detection.data.split import Say, load_splits, silent
from defect_detection.errors import DivergedError
from defect_detection.evaluation.metrics import ranking
from defect_detection.files.switch import switched
from defect_detection.model.bundle import KERAS_FILE
from defect_detection.model.named_weights import check_weights
from defect_detection.model.seal import SEAL_TAG, seal
from defect_detection.processes.watch import Watch, unwatched
from defect_detection.report.comparison import Compared, comparison
from defect_detection.text import markdown
from defect_detection.tracking.best_model import BestModelInfo
from defect_detection.tracking.reading import ModelRef
from defect_detection.tracking.registry import About, Registry
from defect_detection.tracking.runs import ExperimentRecorder, TrialRecord
from defect_detection.tracking.store import check_store
from defect_detection.use_cases.audit import Audited, audit_splits
from defect_detection.use_cases.candidates import Candidate, best_of
from defect_detection.use_cases.engine import HERE, Engine
from defect_detection.use_cases.judge import small_test_note
from defect_detection.use_cases.knowledge import after_training, suited
from defect_detection.use_cases.manifest import listed
from defect_detection.use_cases.search import check_search, search
from defect_detection.use_cases.trial_runs import Bench, record_data, record_figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from defect_detection.training.trial import Fits, Trial


@dataclass(frozen=True)
class Trained:
    """What training came to: one row of figures per set, in their order, what was kept, and what is claimed of it.

    reason: why the best is kept where another is higher; else empty. metric: what `value` is.
    diverged: why each set, or trial of the search, that diverged did, by its name. notes: what to know about the test split.
    """

    validation: dict[str, dict[str, float]]
    best: str
    value: float
    reference: ModelRef
    bundle: Path
    skipped: int
    audit: Audited
    claims: tuple[str, ...] = ()
    reason: str = ""
    metric: str = "validation AUROC"
    diverged: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def train(config: Config, watch: Watch = unwatched, say: Say = silent, engine: Engine = HERE) -> Trained:
    """Train all sets of ``training.hyperparameter_sets``, and the best of ``training.search``, and keep the best.

    One MLflow run shows the comparison; below it, each set is a run. The best by validation AUROC, of sets that chance can't tell
    apart the first, goes to ``bundle_dir`` and to the registry as a new version of ``mlflow.registered_model_name``;
    ``best_model_info`` names it. An interrupted training leaves all of these as they were.

    Args:
        say: is told how the folders were understood, and what the audit warns of, before training starts: a line at a time.
        engine: does the work; the result is the same.

    Raises:
        DataError, LeakageError, ConfigError, TrackingError: nothing was kept; the text says why.
        BusyError: a search is running here. DivergedError: all sets diverged.
    """
    with in_training(config.root):
        return _train(config, watch, say, engine)


def _train(config: Config, watch: Watch, say: Say, engine: Engine) -> Trained:
    check_search(config)
    for one in config.training.hyperparameter_sets:
        check_weights(one.trunk, one.weights)
    check_store(config.tracking_uri)
    splits = load_splits(config, partial(watch, "reading images", "decoding"), say, engine.decode)
    audited = audit_splits(splits, config, watch)
    splits = listed(splits, audited.findings, config)
    for line in audited.warnings:
        say(line)
    recorder = ExperimentRecorder(config.tracking_uri, config.mlflow.experiment_name, config.root)
    if killed := recorder.end_abandoned():
        say(f"Marked MLflow runs of killed trainings as KILLED: {killed}")
    sets = [config.training.resolved(one) for one in config.training.hyperparameter_sets]
    bench = Bench(splits, config, recorder, watch, fits=_no_fits(), engine=engine)
    sets = suited(sets, splits, say)
    if splits.mode == "supervised" and (found := search(bench)):
        sets.append(found)
    with engine.room(splits, config) as folder, _parent(sets, config, recorder) as parent:
        best, figures = train_sets(sets, bench, folder, parent)
        for line in after_training(best, splits):
            say(line)
        watch("keeping the best", best.card.name, 0, 1)
        reference = keep(best, config)
        watch("keeping the best", best.card.name, 1, 1)
    claims = tuple(claim.text for claim in best.card.operating_point.claims)
    return Trained(
        figures,
        best.card.name,
        best.value,
        reference,
        config.bundle_dir,
        len(splits.skipped),
        audited,
        claims,
        best.reason,
        best.metric_in_words,
        bench.diverged,
        tuple(small_test_note(splits.test, config)),
    )


def _parent(
    sets: Sequence[HyperparameterSet], config: Config, recorder: ExperimentRecorder
) -> AbstractContextManager[TrialRecord]:
    params = {"seed": config.seed, "image_size": config.data.image_size, "sets": len(sets)}
    return recorder.trial(f"training {datetime.now():%Y-%m-%d %H:%M}", params)


def train_sets(
    sets: Sequence[HyperparameterSet], bench: Bench, folder: Path, parent: TrialRecord | None = None
) -> tuple[Candidate, dict[str, dict[str, float]]]:
    """Train hyperparameter sets, one run each, into bundles below `folder`. Return the best and all validation figures.

    A set that diverges is a failed run, noted in ``bench.diverged``; the others go on.

    Args:
        bench: branches that were fitted are added to its `fits`.
        parent: the run that theirs stand below, and that shows the comparison.

    Raises:
        DivergedError: all sets diverged.
    """
    bench = replace(
        bench, parent=parent.run_id if parent else None, fits=_no_fits() if bench.fits is None else bench.fits
    )
    samples = {sample.sha256: sample for sample in bench.splits.samples}
    candidates, compared, figures = [], [], {}
    trained = bench.engine.each(lambda one: _unless_diverged(one, bench, folder / one.name), sets)
    for settings, result in zip(sets, trained, strict=True):
        if isinstance(result, DivergedError):
            bench.diverged[settings.name] = str(result)
            continue
        candidate, row = result
        candidates.append(candidate)
        compared += [row] if row else []
        figures[settings.name] = candidate.card.validation
        bound(bench.config.cache_dir, bench.config.cache_max_gb)
    if not candidates:
        why = "".join(f"\n  {line}" for line in diverged_in_words(bench.diverged))
        raise DivergedError(f"All hyperparameter sets diverged, so no model was saved:{why}")
    best = best_of(candidates, samples)
    if parent:
        _show_best(parent, best, len(sets), comparison(compared) if compared else None)
        record_data(parent, bench.splits, bench.config)
        if bench.diverged:
            parent.tags({"diverged": ", ".join(bench.diverged)})
    return best, figures


def _show_best(parent: TrialRecord, best: Candidate, sets: int, compared: "Figure | None") -> None:
    """Let the run above the sets carry the figures and the model of the best one."""
    if compared:
        parent.figure("comparison", compared)
    parent.metrics({f"val_{name}": value for name, value in best.card.validation.items()})
    parent.shows(best.model_uri)
    said = f"Best of {sets} hyperparameter sets: {best.card.name}, {best.metric_in_words} {best.value:.4f}."
    tags = {"best": best.card.name, "best_run": best.run_id}
    tags |= {"best_reason": best.reason} if best.reason else {}
    parent.tags(tags | {"mlflow.note.content": markdown(f"{said} {best.reason}".strip())})


def diverged_in_words(diverged: Mapping[str, str]) -> list[str]:
    """Return a line for each set that diverged, with its reason."""
    return [f"set {name} diverged: {reason}" for name, reason in diverged.items()]


def _no_fits() -> "Fits":
    from defect_detection.training.trial import Fits

    return Fits()


def _unless_diverged(
    settings: HyperparameterSet, bench: Bench, folder: Path
) -> tuple[Candidate, Compared | None] | DivergedError:
    try:
        return _train_one(settings, bench, folder)
    except DivergedError as error:
        return error


def _train_one(settings: HyperparameterSet, bench: Bench, folder: Path) -> tuple[Candidate, Compared | None]:
    task = f"training {settings.name}"
    with bench.recorded(settings) as record:
        trial, card = bench.run(settings, record, partial(bench.watch, task), folder)
        assert card is not None
        record_figures(record, trial, bench, folder)
        record.metrics({f"val_{name}": value for name, value in card.validation.items()})
        record.metrics({"seconds": trial.seconds})
        if claims := card.operating_point.claims:
            record.tags({"claims_met": str(card.claims_met).lower()})
            record.text("claims.txt", "".join(f"{claim.text}\n" for claim in claims))
        uri = record.model(folder)
        auroc = trial.metrics.auroc
        bench.watch(task, "saving", 2, 2, {"val_auroc": auroc.value} if auroc else None)
    scores = {
        sample.sha256: float(score) for sample, score in zip(trial.validation, trial.scores, strict=True)
    }
    return Candidate(card, folder, record.run_id, uri, scores), _compared(trial, bench)


def _compared(trial: "Trial", bench: Bench) -> Compared | None:
    """Return a set's row of the comparison, where there are defective images; only here the interval of AUROC is worked out."""
    if trial.metrics.auroc is None:
        return None
    metrics, settings = trial.metrics, bench.config.evaluation
    samples = trial.validation
    auroc, _ = ranking(
        trial.scores,
        labels_of(samples),
        parts_of(samples),
        confidence=settings.confidence,
        repetitions=settings.bootstrap_repetitions,
        seed=bench.config.seed,
    )
    return Compared(
        trial.settings.name, auroc, metrics.log_loss, metrics.escape, metrics.overkill, trial.seconds
    )


def keep(candidate: Candidate, config: Config) -> ModelRef:
    """Make a candidate the one that evaluation looks at: the registry, then its bundle together with the file that names it.

    When the registry can't be reached, the bundle and the file stay what they were.
    """
    tags = {
        "hyperparameter_set": candidate.card.name,
        candidate.metric: f"{candidate.value:.4f}",
        SEAL_TAG: seal(candidate.folder),
    }
    with switched(config.bundle_dir, config.best_model_info) as (unfinished, tell):
        shutil.copytree(candidate.folder, unfinished, dirs_exist_ok=True)
        about = About(
            "Candidates: the best model of each training.",
            f"{candidate.card.name}: {candidate.metric_in_words} {candidate.value:.4f}",
        )
        reference = Registry(config.tracking_uri).register(
            candidate.model_uri, config.mlflow.registered_model_name, tags, about=about
        )
        path = config.bundle_dir / KERAS_FILE
        info = BestModelInfo(candidate.run_id, path, candidate.model_uri, candidate.metric, candidate.value)
        tell(info.text(config.best_model_info.parent))
    return reference
