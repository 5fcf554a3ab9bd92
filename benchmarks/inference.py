"""Inspection: the time for one decoded image, images/s from a folder of files, and the start to the first verdict.

Each measurement is a process of its own, and they take turns. The graph is the same for all but Ultralytics and anomalib, which have
their own. What the machine allows at most is measured in the same turns: decoding without a model, and the model without decoding.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import datasets
from benchmarks.alternate import alternate
from benchmarks.environments import PEERS
from benchmarks.options import Options
from benchmarks.processes import ROOT, Finished, run
from benchmarks.project import Project, lite0
from benchmarks.tables import mebibytes, spread, table
from defect_detection.model.bundle import read_card

COLUMNS = (
    "",
    "start to first verdict, s",
    "one image, ms: median",
    "95th percentile",
    "folder, images/s",
    "of the lower limit",
    "peak memory, MiB",
)
LIMITS = ("limit: decoding alone", "limit: model alone, f32")
LITE0 = "this project, f32, EfficientNet-Lite0"
LATENCY_IMAGES = 100


@dataclass(frozen=True)
class Contender:
    """A script of ``peers/``, in an environment of its own or (None) in that of this project.

    precision: of this project's Inspector; int8 inspects an 8-bit copy of the bundle.
    prepares: whether the script makes something before it is measured.
    """

    script: str
    environment: str | None = None
    precision: str = "f32"
    prepares: bool = False


CONTENDERS = {
    "this project, f32": Contender("this_project"),
    "this project, bf16": Contender("this_project", precision="bf16"),
    "this project, int8": Contender("this_project", precision="int8", prepares=True),
    "OpenVINO, same graph": Contender("openvino_bare"),
    "Keras model.predict, same graph": Contender("keras_predict"),
    "ONNX Runtime, same graph": Contender("onnxruntime_same_graph", "onnxruntime", prepares=True),
    "Ultralytics yolo11n-cls predict": Contender("ultralytics_cls", "ultralytics", prepares=True),
    "anomalib PaDiM, OpenVINO inferencer": Contender("anomalib_padim", "anomalib", prepares=True),
    LIMITS[0]: Contender("decode_only"),
    LIMITS[1]: Contender("model_only"),
}


def measure(options: Options) -> dict[str, Any]:
    """Measure every contender in turn, several times; return a row for each."""
    data = options.data_set()
    work = options.work / "inference"
    bundle = options.model or train(options, work)
    task = {
        "folder": str(datasets.flat_folder(data, work / "images", options.images)),
        "plain": str(datasets.lay_out(data, work / "plain")),
        "bundle": str(bundle.resolve()),
        "size": read_card(bundle).image_size,
        "latency_images": LATENCY_IMAGES,
    }
    contenders: dict[str, Callable[[], dict[str, Any]]] = {
        "this project, src/inference.py --model": partial(_command_line, task, work)
    }
    for name, contender in CONTENDERS.items():
        if options.peers or contender.environment is None:
            contenders[name] = Measurement(contender, task, datasets.empty(work / _slug(name)), options)
    if options.peers and (lite0_set := lite0()):
        other = task | {"bundle": str(train(options, work / "lite0", lite0_set).resolve())}
        folder = datasets.empty(work / "lite0" / "measured")
        contenders[LITE0] = Measurement(Contender("this_project"), other, folder, options)
    rows = alternate(contenders, options.repetitions)
    return {"data": data.name, "images": options.images, "size": task["size"], "rows": rows}


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def train(options: Options, work: Path, *overrides: str) -> Path:
    """Train a project below the folder, and return its bundle."""
    print("training the model to inspect with", file=sys.stderr, flush=True)
    project = Project.new(work / "project", options.data_set(), (*options.overrides, *overrides))
    project.train()
    return project.bundle


def _command_line(task: dict[str, Any], work: Path) -> dict[str, Any]:
    """Take the time of the whole command for one image."""
    image = min(Path(task["folder"]).iterdir())
    command = [sys.executable, ROOT / "src" / "inference.py", "--json", "--model", task["bundle"], image]
    finished = run(command, datasets.empty(work / "command_line"))
    return {"first_verdict_s": finished.seconds, "peak_bytes": finished.peak_bytes}


class Measurement:
    """One contender: what it needs is made at the first call."""

    def __init__(self, contender: Contender, task: dict[str, Any], folder: Path, options: Options) -> None:
        self.contender = contender
        self.task = task | {"work": str(folder), "precision": contender.precision}
        self.folder = folder
        self.options = options
        self.prepared = not contender.prepares

    def __call__(self) -> dict[str, Any]:
        if not self.prepared:
            self._run("prepare")
            self.prepared = True
        finished = self._run()
        return finished.last_json() | {"peak_bytes": finished.peak_bytes}

    def _run(self, *verb: str) -> Finished:
        environment = self.contender.environment
        python = self.options.environments.python(environment) if environment else sys.executable
        path = self.folder / "task.json"
        path.write_text(json.dumps(self.task | {"started": time.time()}), encoding="utf-8")
        return run([python, PEERS / f"{self.contender.script}.py", *verb, path], self.folder)


def render(result: dict[str, Any]) -> str:
    """Return the table, with each folder throughput as a share of the lower of the two limits."""
    limits = {
        row["name"]: _throughput(row) for row in result["rows"] if row["name"] in LIMITS and "runs" in row
    }
    lower = min(limits.values(), default=0.0)
    about = f"Data set: {result['data']}; {result['images']} files; decoded images of {result['size']} px."
    rows = [_cells(row, lower) for row in result["rows"]]
    return f"{about}{_both_limits(limits)}\n\n{table(COLUMNS, rows)}"


def _both_limits(limits: dict[str, float]) -> str:
    """Say what decoding and model leave when they share the same cores: 1 / (1 / a + 1 / b)."""
    if len(limits) < 2:
        return ""
    together = 1 / sum(1 / limit for limit in limits.values())
    return f" Time for decoding and the model on the same cores leave {together:.0f} images/s at most."


def _throughput(row: dict[str, Any]) -> float:
    return median(run["images_per_s"] for run in row["runs"])


def _cells(row: dict[str, Any], lower_limit: float) -> list[str]:
    if "skipped" in row:
        return [row["name"], f"skipped: {row['skipped']}"]
    runs = row["runs"]
    cells = [row["name"], _first(runs), *_latency(runs)]
    if "images_per_s" not in runs[0]:
        return [*cells, "", "", mebibytes(runs)]
    share = f"{100 * _throughput(row) / lower_limit:.0f} %" if lower_limit else ""
    return [*cells, spread([run["images_per_s"] for run in runs], 0), share, mebibytes(runs)]


def _first(runs: list[dict[str, Any]]) -> str:
    return spread([run["first_verdict_s"] for run in runs], 2) if "first_verdict_s" in runs[0] else ""


def _latency(runs: list[dict[str, Any]]) -> tuple[str, str]:
    """Return the median over the runs of each run's median, and the 95th percentile of all calls."""
    if "latencies_ms" not in runs[0]:
        return "", ""
    every = [run["latencies_ms"] for run in runs]
    return f"{median(median(one) for one in every):.2f}", f"{np.percentile(np.concatenate(every), 95):.2f}"
