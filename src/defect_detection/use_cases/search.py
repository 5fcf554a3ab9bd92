"""Search for better hyperparameters of one set with Optuna. Each trial is a short MLflow run below one parent run.

What has been tried is kept in ``search.db`` beside the settings, so a stopped or killed search continues.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from defect_detection import __version__
from defect_detection.config import Config
from defect_detection.config.training import HyperparameterSet
from defect_detection.data.cache_folder import bound
from defect_detection.data.split import Splits
from defect_detection.environment import quoted
from defect_detection.errors import BusyError, ConfigError, DivergedError, TrackingError
from defect_detection.report import figures
from defect_detection.report.comparison import Searched, search_course
from defect_detection.tracking.runs import TrialRecord
from defect_detection.tracking.store import redacted, reporting
from defect_detection.use_cases.search_space import own_values, suggest, values_of
from defect_detection.use_cases.trial_runs import Bench, record_data

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as Proposal

SEARCH_TAG = "search"  # of the run above all trials: the name of the search, by which it is found again
LOG_LOSS_WEIGHT = 1e-3  # decides between trials of (nearly) equal AUROC
EPOCHS_BEFORE_PRUNING = 5
_AGAIN = "again"  # of a trial whose values were killed once
_DIVERGED = "diverged"  # of a trial that did: why
LOCK_NAME = ".search.lock"  # in the root


def check_search(config: Config) -> None:
    """Refuse a search without Optuna, before anything is done.

    Raises:
        ConfigError: it isn't installed.
    """
    if config.training.search is None:
        return
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "training.search: Optuna is not installed. Run `pip install 'defect-detection[search]'` (or `pip install "
            "optuna`), or set training.search to null"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def search(bench: Bench) -> HyperparameterSet | None:
    """Do the trials that are still missing, and return the best set of all.

    Returns:
        None where no search is configured, or no trial was completed.

    Raises:
        BusyError: a search is running here.
        TrackingError: MLflow's store can't be used.
    """
    plan = bench.config.training.search
    if plan is None:
        return None
    from optuna.exceptions import OptunaError

    sets = {one.name: one for one in bench.config.training.hyperparameter_sets}
    base = bench.config.training.resolved(sets[plan.base])
    try:
        with FileLock(bench.config.root / LOCK_NAME, timeout=0):
            return _Search(bench, base, plan.space).run(plan.trials, plan.timeout_s)
    except Timeout as error:
        raise BusyError.of("a search", bench.config.root) from error
    except OptunaError as error:
        raise TrackingError(
            f"training.search: the trials cannot be stored: {redacted(str(error))}"
        ) from error


class _Search:
    """One search: its study in the database, and its run in MLflow."""

    def __init__(self, bench: Bench, base: HyperparameterSet, space: Mapping[str, Any]) -> None:
        self.bench, self.base, self.space = bench, base, space
        self.name = search_name(base, space, _trunk_of(bench, base), bench.splits, bench.config)
        self.study = _open_study(self.name, bench.config)

    def run(self, trials: int, timeout_s: float | None) -> HyperparameterSet | None:
        end = time.monotonic() + (timeout_s or float("inf"))
        with self._parent() as parent:
            record_data(parent, self.bench.splits, self.bench.config)
            self._end_what_was_killed(parent)
            if not self.study.get_trials(deepcopy=False):
                self.study.enqueue_trial(own_values(self.base, self.space))
            bench = replace(self.bench, parent=parent.run_id)
            for _ in bench.engine.each(lambda one: self._try(one, bench), self._proposals(trials, end)):
                bound(bench.config.cache_dir, bench.config.cache_max_gb)
            self._tell(trials)
            self._record(parent)
        best = self._best()
        return self._settings(best.number, values_of(best)) if best else None

    def _proposals(self, trials: int, end: float) -> "Iterator[Proposal]":
        """Yield what to try next, until enough was tried or is under way, or the time is over."""
        begun = len(self._finished())
        while begun < trials and time.monotonic() < end:
            self._tell(trials)
            yield self.study.ask()
            begun += 1

    def _tell(self, trials: int) -> None:
        done = len(self._finished())
        self.bench.watch(f"searching {self.base.name}", "trials", done, trials, self._best_so_far())

    def _parent(self) -> AbstractContextManager[TrialRecord]:
        """The run above all trials: that of the search so far, or a new one."""
        recorder = self.bench.recorder
        params = self.bench.params(self.base) | {"name": self.base.name, "space": json.dumps(self.space)}
        return recorder.trial(
            f"search {self.base.name}",
            params,
            {SEARCH_TAG: self.name},
            resume=recorder.find(SEARCH_TAG, self.name),
        )

    def _end_what_was_killed(self, parent: TrialRecord) -> None:
        """No other search runs here (`LOCK_NAME`), so a trial that is still running was killed and does not count.

        Its values are tried once more, and not again: perhaps it was them that killed it.
        """
        from optuna.trial import TrialState

        self.bench.recorder.end_unfinished(parent.run_id)
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.study.tell(trial.number, state=TrialState.FAIL)
            if _AGAIN not in trial.user_attrs:
                self.study.enqueue_trial(trial.params, user_attrs={_AGAIN: True})

    def _try(self, proposal: "Proposal", bench: Bench) -> None:
        """Run one trial as one MLflow run. A pruned trial ends its run normally, with a tag; a diverged trial is a failed run."""
        from optuna import TrialPruned
        from optuna.trial import TrialState

        values = {name: suggest(proposal, name, values) for name, values in self.space.items()}
        settings = self._settings(proposal.number, values)
        try:
            with bench.recorder.trial(settings.name, bench.params(settings), parent=bench.parent) as record:
                proposal.set_user_attr("run_id", record.run_id)
                try:
                    auroc, log_loss = self._train(settings, record, proposal, bench)
                except TrialPruned:
                    record.tags({"pruned": "true"})
                    self.study.tell(proposal, state=TrialState.PRUNED)
                    return
            proposal.set_user_attr("auroc", auroc)
            proposal.set_user_attr("log_loss", log_loss)
            self.study.tell(proposal, auroc - LOG_LOSS_WEIGHT * log_loss)
        except DivergedError as error:  # pruned in the study, so the sampler avoids such values
            proposal.set_user_attr(_DIVERGED, str(error))
            self.study.tell(proposal, state=TrialState.PRUNED)
        except BaseException:
            self.study.tell(proposal, state=TrialState.FAIL, skip_if_finished=True)
            raise

    def _train(
        self, settings: HyperparameterSet, record: TrialRecord, proposal: "Proposal", bench: Bench
    ) -> tuple[float, float]:
        from optuna import TrialPruned

        losses: list[float] = []

        def follow(phase: str, done: int, total: int, metrics: Mapping[str, float] | None = None) -> None:
            if metrics and "val_loss" in metrics:
                losses.append(metrics["val_loss"])
                proposal.report(-losses[-1], len(losses))  # the study looks for the highest
                if proposal.should_prune():
                    raise TrialPruned

        trial, _ = bench.run(settings, record, follow)
        metrics = trial.metrics
        assert metrics.auroc is not None  # a search is for a classifier, and both labels judge it
        if trial.history:
            record.figure("training_curves", figures.training_curves(trial.history))
        rates = {"val_escape_rate": metrics.escape.value, "val_overkill_rate": metrics.overkill.value}
        record.metrics(
            {
                "val_auroc": metrics.auroc.value,
                "val_log_loss": metrics.log_loss,
                "val_accuracy": metrics.accuracy.value,
                "seconds": trial.seconds,
                **rates,
            }
        )
        return metrics.auroc.value, metrics.log_loss

    def _settings(self, number: int, values: Mapping[str, Any]) -> HyperparameterSet:
        name = self._name(number)
        return HyperparameterSet.model_validate({**self.base.model_dump(mode="json"), **values, "name": name})

    def _name(self, number: int) -> str:
        return f"{self.base.name[:48]}-trial-{number}"

    def _finished(self) -> "list[FrozenTrial]":
        from optuna.trial import TrialState

        return self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))

    def _best(self) -> "FrozenTrial | None":
        done = [trial for trial in self._finished() if "auroc" in trial.user_attrs]
        return max(done, key=lambda t: (t.user_attrs["auroc"], -t.user_attrs["log_loss"]), default=None)

    def _best_so_far(self) -> dict[str, float] | None:
        best = self._best()
        return {"val_auroc": best.user_attrs["auroc"]} if best else None

    def _record(self, parent: TrialRecord) -> None:
        """Log the trials and their results to the parent run."""
        trials, best = self._finished(), self._best()
        diverged = {
            self._name(trial.number): trial.user_attrs[_DIVERGED]
            for trial in trials
            if _DIVERGED in trial.user_attrs
        }
        self.bench.diverged.update(diverged)
        pruned = sum("auroc" not in trial.user_attrs for trial in trials) - len(diverged)
        counts = {"trials": len(trials), "pruned_trials": pruned}
        parent.metrics(counts | ({"diverged_trials": len(diverged)} if diverged else {}))
        if trials:
            figures_of = [
                (trial.user_attrs.get("auroc"), trial.user_attrs.get("log_loss")) for trial in trials
            ]
            shown = [Searched(values_of(t), *both) for t, both in zip(trials, figures_of, strict=True)]
            parent.figure("search_auroc", search_course(shown, "auroc"))
            parent.figure("search_log_loss", search_course(shown, "log_loss"))
        if best:
            parent.tags(
                {"best": self._name(best.number), "best_run": best.user_attrs["run_id"], **values_of(best)}
            )


def _trunk_of(bench: Bench, base: HyperparameterSet) -> str:
    """Return the fingerprint of the trunk that trials start from: its weights can change under their name."""
    from defect_detection.training.trial import Fits, trunk_of

    if bench.base:
        return bench.base().fingerprint
    fits = Fits() if bench.fits is None else bench.fits
    return trunk_of(base, bench.splits.framing.size, bench.config.seed, fits).fingerprint


def search_name(
    base: HyperparameterSet, space: Mapping[str, Any], trunk: str, splits: Splits, config: Config
) -> str:
    """Return a name that is the same for the same search on the same images: how many trials it may take doesn't count.

    Args:
        trunk: the fingerprint of the trunk that trials start from.
    """
    what = [
        base.model_dump(mode="json"),
        space,
        trunk,
        splits.train_fingerprint,
        splits.validation_fingerprint,
        splits.framing.model_dump(mode="json") if splits.framing.key else splits.framing.image_size,
        config.data.bit_depth,
        config.seed,
        __version__,
    ]
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    return f"{base.name}-{digest[:16]}"


def _open_study(name: str, config: Config) -> "Study":
    """Open the study, or begin it."""
    import optuna

    url = storage_url(config.root)
    patience = {"connect_args": {"timeout": 60}}  # while others write, in s
    with reporting(url, "opening the search"):
        storage = optuna.storages.RDBStorage(url, patience)
        study = optuna.create_study(
            storage=storage, study_name=name, direction="maximize", load_if_exists=True
        )
        tried = len(study.get_trials(deepcopy=False))
    study.sampler = optuna.samplers.TPESampler(seed=(config.seed + tried) % 2**32)  # not the same draws again
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=EPOCHS_BEFORE_PRUNING)
    return study


def storage_url(root: Path) -> str:
    """Return the address of the SQLite file that keeps what has been tried."""
    return f"sqlite:///{(quoted(root) / 'search.db').as_posix()}"
