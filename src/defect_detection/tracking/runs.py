"""Record trials as MLflow runs: parameters, metrics, figures, texts, data fingerprints and the model."""

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from defect_detection.errors import TrackingError
from defect_detection.files.unfinished import working_folder
from defect_detection.processes.identity import is_dead, owner, place, user
from defect_detection.report.figures import lay_out
from defect_detection.text import encodable
from defect_detection.tracking.flavor import log_bundle
from defect_detection.tracking.registry import local_path
from defect_detection.tracking.store import Store, connect, reporting

_PARENT = "mlflow.parentRunId"
_OWNER = "owner."  # begins the names of the tags that tell which process works on a run
_UPLOADING = ".artifact.uploading."  # begins the names of files that MLflow is writing
_GIT_TIMEOUT_S = 5
_ONE_DATASET = (
    threading.Lock()
)  # MLflow adds the same data set twice when two threads log it at once, and fails


class ExperimentRecorder:
    """All runs of one experiment.

    Args:
        root: the project's folder; where it is a git checkout, the runs name its commit.

    Raises:
        TrackingError: the store can't be used (see `connect`).
    """

    def __init__(self, tracking_uri: str, experiment: str, root: Path | None = None) -> None:
        self._store = connect(tracking_uri, experiment)
        self._commit = commit_of(root) if root else {}

    @contextmanager
    def trial(
        self,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, Any] | None = None,
        *,
        parent: str | None = None,
        resume: str | None = None,
    ) -> Iterator["TrialRecord"]:
        """Record what the block does as one run.

        The run ends as FINISHED; as KILLED when the block is interrupted (Ctrl-C, exit); as FAILED on an
        error, with its text in the tag ``failure``.

        Args:
            parent: id of the run that MLflow's page shows this one below.
            resume: id of a run to go on with, instead of a new one.
        """
        with reporting(self._store.uri, "creating a run"):
            run_id = self._reopened(resume) if resume else self._created(name, tags or {}, parent)
        record = TrialRecord(self._store, run_id, name)
        try:
            record._params(params)
            yield record
        except BaseException as error:
            record._end_surely(error)
            raise
        record._end("FINISHED")

    def find(self, tag: str, value: str) -> str | None:
        """Return the id of the newest run with the tag, if there is one."""
        with reporting(self._store.uri, "looking for a run"):
            found = self._search(f"tags.`{tag}` = '{value}'", limit=1)
        return str(found[0].info.run_id) if found else None

    def end_unfinished(self, parent: str) -> int:
        """Mark the runs below `parent` that are still RUNNING as KILLED. Return how many.

        Call it only when nobody works on them any more: their process was killed, so it couldn't.
        """
        with reporting(self._store.uri, "ending runs that were left running"):
            left = self._search(f"tags.`{_PARENT}` = '{parent}' AND attributes.status = 'RUNNING'")
            for run in left:
                self._store.client.set_terminated(run.info.run_id, "KILLED")
        return len(left)

    def end_abandoned(self) -> int:
        """Mark the runs whose process on this machine was killed, and that are still RUNNING, as KILLED. Return how many.

        What MLflow was writing for them into a folder of this machine is removed.
        """
        with reporting(self._store.uri, "ending runs of killed processes"):
            running = self._search(f"attributes.status = 'RUNNING' AND tags.`{_OWNER}place` = '{place()}'")
            left = [run for run in running if is_dead(_owned_by(run.data.tags))]
            for run in left:
                self._store.client.set_terminated(run.info.run_id, "KILLED")
                _remove_uploads(run.info.artifact_uri)
        return len(left)

    def _created(self, name: str, tags: Mapping[str, Any], parent: str | None) -> str:
        all_tags = _origin() | _owner() | self._commit | _texts(tags) | ({_PARENT: parent} if parent else {})
        run = self._store.client.create_run(self._store.experiment_id, run_name=name, tags=all_tags)
        return str(run.info.run_id)

    def _reopened(self, run_id: str) -> str:
        for tag, value in _owner().items():
            self._store.client.set_tag(run_id, tag, value)
        self._store.client.update_run(run_id, status="RUNNING")
        return run_id

    def _search(self, condition: str, limit: int = 1000) -> list[Any]:
        return list(self._store.client.search_runs([self._store.experiment_id], condition, max_results=limit))


class TrialRecord:
    """One run while it lasts. Every method raises `TrackingError` when the store can't be reached."""

    def __init__(self, store: Store, run_id: str, name: str) -> None:
        self.run_id = run_id
        self._store = store
        self._name = name
        self._all_params: dict[str, str] = {}
        self._final: dict[str, float] = {}

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers in one call: of an epoch when `step` is given, else final ones."""
        if step is None:
            self._final.update(values)
        self._batch(metrics=self._metrics(values, step or 0))

    def figure(self, name: str, figure: Any) -> None:
        """Log a matplotlib Figure, or an image file, as ``figures/<name>``."""
        with reporting(self._store.uri, f"logging the figure {name}"):
            if isinstance(figure, Path):
                self._copy_of(figure, f"{Path(name).stem}{figure.suffix}")
            else:
                lay_out(figure)
                self._store.client.log_figure(self.run_id, figure, f"figures/{Path(name).stem}.png")

    def text(self, name: str, text: str) -> None:
        """Log a text as the file `name`, for example ``config.yaml``."""
        with reporting(self._store.uri, f"logging {name}"):
            self._store.client.log_text(self.run_id, encodable(text), name)

    def folder(self, name: str, folder: Path) -> None:
        """Log the files of a folder, for example a report, under `name`."""
        with reporting(self._store.uri, f"logging {folder}"):
            self._store.client.log_artifacts(self.run_id, str(folder), name)

    def dataset(self, split: str, fingerprint: str, *, source: str = "", images: int, defective: int) -> None:
        """Record which data a split held: as a dataset of the run, and as tags that can be searched."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        profile = f'{{"images": {images}, "defective": {defective}}}'
        dataset = Dataset(
            name=split,
            digest=fingerprint[:32],
            source_type="local",
            source=encodable(source or split),
            profile=profile,
        )
        tags = {"fingerprint": fingerprint, "images": images, "defective": defective}
        with reporting(self._store.uri, "logging a dataset"), _ONE_DATASET:
            context = [InputTag("mlflow.data.context", split)]
            self._store.client.log_inputs(self.run_id, [DatasetInput(dataset, tags=context)])
        self.tags({f"data.{split}.{key}": value for key, value in tags.items()})

    def uses(self, model_id: str) -> None:
        """Link a logged model as an input of the run, as a decision about it has it."""
        from mlflow.entities import LoggedModelInput

        with reporting(self._store.uri, "linking a model"):
            self._store.client.log_inputs(self.run_id, models=[LoggedModelInput(model_id)])

    def shows(self, model_uri: str) -> None:
        """Link a model of another run as an output: the run above all sets has the best one's."""
        from mlflow.entities import LoggedModelOutput

        with reporting(self._store.uri, "linking a model"):
            model = LoggedModelOutput(model_uri.removeprefix("models:/"), step=0)
            self._store.client.log_outputs(self.run_id, [model])

    def tags(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import RunTag

        self._batch(tags=[RunTag(key, value) for key, value in _texts(values).items()])

    def model(self, bundle: Path) -> str:
        """Log a bundle as the run's model, with the run's parameters and final metrics.

        Returns:
            its URI, ``models:/m-…``.
        """
        with reporting(self._store.uri, "logging the model"):
            uri = log_bundle(self._store, bundle, self._name, self.run_id, self._all_params)
        model_id = uri.removeprefix("models:/")
        self._batch(metrics=self._metrics(self._final, 0, model_id))
        return uri

    def _params(self, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        self._all_params = _texts(params)
        self._batch(params=[Param(key, value) for key, value in self._all_params.items()])

    def _metrics(self, values: Mapping[str, float], step: int, model_id: str | None = None) -> list[Any]:
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        return [Metric(key, float(value), now_ms, step, model_id) for key, value in values.items()]

    def _batch(self, **entities: Any) -> None:
        with reporting(self._store.uri, f"logging {', '.join(entities)}"):
            self._store.client.log_batch(self.run_id, **entities)

    def _copy_of(self, file: Path, name: str) -> None:
        with working_folder() as folder:
            copy = shutil.copyfile(file, folder / name)
            self._store.client.log_artifact(self.run_id, str(copy), "figures")

    def _end_surely(self, error: BaseException) -> None:
        """End the run after an error, which is the one to show whatever happens here.

        Ctrl-C in the middle of a call can leave its connection broken; the second try gets a new one.
        """
        for _ in range(2):
            with suppress(TrackingError):
                return self._end_after(error)

    def _end_after(self, error: BaseException) -> None:
        if isinstance(error, Exception):
            self._end("FAILED")
            self.tags({"failure": str(error)[:5000] or type(error).__name__})
        else:
            self._end("KILLED")

    def _end(self, status: str) -> None:
        with reporting(self._store.uri, f"marking the run as {status}"):
            self._store.client.set_terminated(self.run_id, status)


def _origin() -> dict[str, str]:
    """Who and what made the run: the columns User and Source of MLflow's page."""
    return {
        "mlflow.user": user(),
        "mlflow.source.name": Path(sys.argv[0]).name,
        "mlflow.source.type": "LOCAL",
    }


def _owner() -> dict[str, str]:
    return {f"{_OWNER}{name}": value for name, value in owner().items()}


def _remove_uploads(location: str) -> None:
    folder = local_path(location)
    for path in folder.rglob(f"{_UPLOADING}*") if folder else ():
        path.unlink(missing_ok=True)


def _owned_by(tags: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(_OWNER): value for name, value in tags.items() if name.startswith(_OWNER)}


def commit_of(root: Path) -> dict[str, str]:
    """Return the tags of the git commit that is checked out in a folder; none where it is no checkout, or git is missing."""
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"mlflow.source.git.commit": commit, "mlflow.source.git.dirty": str(bool(changed)).lower()}


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603  no shell, our own arguments
        ["git", "-C", str(root), *arguments],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
        timeout=_GIT_TIMEOUT_S,
    )
    return done.stdout.strip()


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: encodable(value) for key, value in values.items()}
