"""Training to result: seconds, quality on the test split, and memory, of this project and of its peers on the same images.

Each training starts without a cache. Everyone gets the same training, validation and test images; what a peer does with them
is in its script. Seconds are those of the whole process that trains; scoring the test split is not in them.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import datasets
from benchmarks.alternate import alternate
from benchmarks.datasets import DataSet
from benchmarks.environments import PEERS
from benchmarks.options import Options
from benchmarks.processes import Finished, run
from benchmarks.project import Project, pretrained
from benchmarks.tables import accuracy, auroc, mebibytes, middle, spread, table
from defect_detection.evaluation.metrics import evaluate

COLUMNS = ("", "seconds", "AUROC (95 % interval)", "accuracy", "peak memory, MiB")


def measure(options: Options) -> dict[str, Any]:
    """Train every contender in turn, several times; return a row for each."""
    data = options.data_set()
    work = options.work / "training"
    plain = datasets.lay_out(data, work / "plain")
    contenders: dict[str, Callable[[], dict[str, Any]]] = {
        "this project, default": partial(_this_project, data, work / "default", options.overrides)
    }
    if options.weights:
        overrides = (*options.overrides, pretrained(options.weights))
        contenders["this project, pretrained MobileNetV2"] = partial(
            _this_project, data, work / "pretrained", overrides
        )
    if options.peers:
        contenders["plain Keras pipeline, 3 sets × 10 epochs, 128 px"] = partial(
            _keras, plain, work / "keras"
        )
        name = f"Ultralytics yolo11n-cls, {options.yolo_epochs} epochs, 224 px, from its yaml"
        contenders[name] = partial(_ultralytics, plain, work / "ultralytics", options)
    return {"data": data.name, "rows": alternate(contenders, options.repetitions)}


def _this_project(data: DataSet, folder: Path, overrides: tuple[str, ...]) -> dict[str, Any]:
    project = Project.new(folder, data, overrides)
    return _result(project.train(), project.evaluate())


def _keras(plain: Path, out: Path) -> dict[str, Any]:
    return _peer([sys.executable, PEERS / "keras_cnn.py"], plain, out)


def _ultralytics(plain: Path, out: Path, options: Options) -> dict[str, Any]:
    python = options.environments.python("ultralytics")
    return _peer([python, PEERS / "ultralytics_cls.py"], plain, out, str(options.yolo_epochs))


def _peer(script: list[Path | str], plain: Path, out: Path, *arguments: str) -> dict[str, Any]:
    out = datasets.empty(out)
    finished = run([*script, "train", plain, out, *arguments], out)
    scored = run([*script, "score", plain, out], out).last_json()
    metrics = evaluate(scored["scores"], scored["labels"], threshold=0.5)
    return _result(finished, metrics.model_dump())


def _result(finished: Finished, metrics: dict[str, Any]) -> dict[str, Any]:
    return {"seconds": finished.seconds, "peak_bytes": finished.peak_bytes, "metrics": metrics}


def render(result: dict[str, Any]) -> str:
    """Return the table."""
    return f"Data set: {result['data']}.\n\n" + table(COLUMNS, [_cells(row) for row in result["rows"]])


def _cells(row: dict[str, Any]) -> list[str]:
    if "skipped" in row:
        return [row["name"], f"skipped: {row['skipped']}"]
    runs = row["runs"]
    metrics = middle(runs, lambda one: one["metrics"]["auroc"]["value"])["metrics"]
    seconds = spread([one["seconds"] for one in runs], 1)
    return [row["name"], seconds, auroc(metrics), accuracy(metrics), mebibytes(runs)]
