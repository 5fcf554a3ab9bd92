"""Serving: ``POST /predict`` with JPEGs at 1, 8 and 32 clients, on this project's server and on those that others would write.

All servers run at the same time, but only one has requests; they take turns at every number of clients, so what slows the
machine down slows down all of them. The graph is the same for all.
"""

import base64
import io
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import datasets, endurance
from benchmarks.datasets import OK_CLASSES
from benchmarks.environments import PEERS
from benchmarks.inference import train
from benchmarks.load import HOST, Body, Target
from benchmarks.options import Options
from benchmarks.ports import free_port
from benchmarks.processes import ROOT, Unavailable, run
from benchmarks.project import Project
from benchmarks.servers import Server, running
from benchmarks.tables import table
from defect_detection.config import load_config
from defect_detection.data.images import read_image
from defect_detection.data.samples import scan
from defect_detection.model.bundle import read_card

CLIENTS = (1, 8, 32)
IMAGE_PX = 256
DIFFERENT = 50  # images; each request has one of them, under a number of its own
WARM_UP = 0.3  # of a point's seconds, with 8 clients
BOUNDARY = "a-part-of-the-form"
OURS = {"image": "this project", "form": "this project, form"}
BARE = {"image": "bare Flask, Waitress and Inspector", "form": "bare Flask, Waitress and Inspector, form"}


@dataclass(frozen=True)
class Contender:
    """A server, and what is sent to it: an image as the body, a form with one, its pixels or its bytes in base64 as JSON.

    environment: of its own, or None for that of this project.
    """

    server: str
    sends: str
    path: str = "/predict"
    environment: str | None = None
    is_peer: bool = True


CONTENDERS = {
    OURS["image"]: Contender("project", "image", is_peer=False),
    BARE["image"]: Contender("bare", "image", is_peer=False),
    OURS["form"]: Contender("project", "form", is_peer=False),
    BARE["form"]: Contender("bare", "form", is_peer=False),
    "Flask and Keras model.predict, form": Contender("keras", "form"),
    "mlflow models serve, Keras model, pixels as JSON": Contender("mlflow_keras", "pixels", "/invocations"),
    "mlflow models serve, this project's model, base64": Contender("mlflow_own", "base64", "/invocations"),
    "LitServe, OpenVINO, form": Contender("litserve", "form", environment="litserve"),
    "BentoML, OpenVINO, form": Contender("bentoml", "form", environment="bentoml"),
    "Ray Serve, OpenVINO": Contender("ray", "image", environment="ray_serve"),
}


@dataclass(frozen=True)
class _Setting:
    """What all servers need. logged: the model that MLflow has logged. bodies: by what contenders send."""

    project: Project
    bundle: Path
    logged: Path
    work: Path
    bodies: Mapping[str, Sequence[Body]]
    options: Options

    @property
    def size(self) -> int:
        return read_card(self.bundle).frame.size[0]


def measure(options: Options) -> dict[str, Any]:
    """Measure every contender in turn, several times; return a row for each."""
    setting = prepare(options)
    contenders = {name: one for name, one in CONTENDERS.items() if options.peers or not one.is_peer}
    result: dict[str, Any] = {"seconds": options.seconds, "size": setting.size}
    result["rows"] = _rows(setting, contenders)
    target, start = own_server(setting)
    if options.retraining:
        with start():
            result["retraining"] = endurance.beside_retraining(target, options.seconds)
    if options.swaps:
        versions = [setting.project.register(setting.bundle) for _ in range(options.swaps)]
        with start():
            result["swaps"] = endurance.hot_swaps(setting.project, target, options.seconds, versions)
    if options.soak:
        with start() as server:
            result["soak"] = endurance.soak(server, target, options.soak)
    shutil.rmtree(setting.project.folder / "inspections", ignore_errors=True)
    return result


def prepare(options: Options) -> _Setting:
    """Return a promoted model with the images that are sent to it."""
    work = datasets.empty(options.work / "serving")
    bundle = (options.model or train(options, work)).resolve()
    address = (f"serving.host={HOST}", f"serving.port={free_port()}")
    project = Project.new(work / "served", options.data_set(), (*options.overrides, *address))
    bodies = _bodies(options, read_card(bundle).frame.size[0])
    return _Setting(project, bundle, project.promote(bundle), work, bodies, options)


def _bodies(options: Options, size: int) -> dict[str, list[Body]]:
    samples = scan(options.data_set().test, OK_CLASSES)[0][:DIFFERENT]
    images = [_jpeg(sample.path) for sample in samples]
    return {
        "image": [Body("image/jpeg", (image, b"")) for image in images],
        "form": [_form(image) for image in images],
        "pixels": [_json({"instances": [read_image(image, (size, size)).tolist()]}) for image in images],
        "base64": [_json({"dataframe_records": [{"image": _text(image)}]}) for image in images],
    }


def _jpeg(path: Path) -> bytes:
    file = io.BytesIO()
    Image.fromarray(read_image(path, (IMAGE_PX, IMAGE_PX))).save(file, "JPEG", quality=90)
    return file.getvalue()


def _form(image: bytes) -> Body:
    """Return a form; what comes after the end of a JPEG changes its bytes, and no pixel."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="part.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return Body(
        f"multipart/form-data; boundary={BOUNDARY}",
        (head.encode() + image, f"\r\n--{BOUNDARY}--\r\n".encode()),
    )


def _json(content: object) -> Body:
    return Body("application/json", (json.dumps(content, separators=(",", ":")).encode(),))


def _text(image: bytes) -> str:
    return base64.b64encode(image).decode()


def _rows(setting: _Setting, contenders: Mapping[str, Contender]) -> list[dict[str, Any]]:
    """Start the servers, measure them in turn, and end them."""
    rows: dict[str, dict[str, Any]] = {name: {"name": name, "points": {}} for name in contenders}
    ports = {one.server: free_port() for one in contenders.values()}
    ports["project"] = load_config(setting.project.folder / "config.yaml").serving.port
    targets = {
        name: Target(ports[one.server], one.path, setting.bodies[one.sends])
        for name, one in contenders.items()
    }
    with ExitStack() as stack:
        servers: dict[str, Server | str] = {}
        for name, one in contenders.items():
            if one.server not in servers:
                servers[one.server] = _started(stack, setting, one, targets[name])
            _note_start(rows[name], servers[one.server], targets[name])
        for repetition in range(setting.options.repetitions):
            for clients in CLIENTS:
                _say(f"{repetition + 1}/{setting.options.repetitions} {clients} clients")
                for name, one in contenders.items():
                    if isinstance(server := servers[one.server], Server) and "skipped" not in rows[name]:
                        _measure_point(rows[name], server, targets[name], clients, setting.options.seconds)
    return list(rows.values())


def _started(stack: ExitStack, setting: _Setting, contender: Contender, target: Target) -> Server | str:
    """Return the server, or why it can't be started."""
    _say(f"starting {contender.server}")
    try:
        return stack.enter_context(_start(setting, contender, target))
    except Unavailable as problem:
        _say(f"    skipped: {problem}")
        return str(problem)


def _note_start(row: dict[str, Any], server: Server | str, target: Target) -> None:
    reason = server if isinstance(server, str) else target.ask()
    if reason is not None:
        row["skipped"] = reason
    elif isinstance(server, Server):
        row |= {"ready_s": server.ready_s, "resident_bytes": None}


def _measure_point(row: dict[str, Any], server: Server, target: Target, clients: int, seconds: float) -> None:
    if not row["points"]:
        target.run(8, WARM_UP * seconds)
    before = server.cpu_s()
    point = target.run(clients, seconds).summary()
    point["cpu_ms"] = 1000 * (server.cpu_s() - before) / max(1, point["requests"])
    row["points"].setdefault(str(clients), []).append(point)
    row["resident_bytes"] = max(row["resident_bytes"] or 0, server.resident_bytes() or 0) or None


def own_server(setting: _Setting) -> tuple[Target, Any]:
    """Return where this project's server listens, and what starts it."""
    contender = CONTENDERS[OURS["image"]]
    port = load_config(setting.project.folder / "config.yaml").serving.port
    target = Target(port, contender.path, setting.bodies[contender.sends])
    return target, partial(_start, setting, contender, target)


def _start(setting: _Setting, contender: Contender, target: Target) -> Any:
    """Return a context in which the server runs.

    Raises:
        Unavailable: its environment can't be installed.
    """
    told = {"port": target.port, "bundle": str(setting.bundle), "size": setting.size, "threads": 8}
    variables = {"SERVING_TASK": json.dumps(told), "BENTOML_DO_NOT_TRACK": "True"}
    variables |= {"RAY_USAGE_STATS_ENABLED": "0", "MLFLOW_DISABLE_TELEMETRY": "true"}
    own = setting.options.environments
    python = own.python(contender.environment) if contender.environment else Path(sys.executable)
    variables["PATH"] = (
        f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"  # where MLflow looks for uvicorn
    )
    if contender.server == "project":
        return running([python, ROOT / "api.py"], setting.project.folder, target, variables)
    folder = datasets.empty(setting.work / contender.server)
    return running(_command(setting, contender, python, folder, target.port), folder, target, variables)


def _command(
    setting: _Setting, contender: Contender, python: Path, folder: Path, port: int
) -> list[str | Path]:
    address = ["--host", HOST, "--port", str(port)]
    mlflow: list[str | Path] = [
        python,
        "-m",
        "mlflow",
        "models",
        "serve",
        "--env-manager",
        "local",
        *address,
        "--model-uri",
    ]
    if contender.server == "mlflow_own":
        return [*mlflow, setting.logged]
    if contender.server == "mlflow_keras":
        run([python, PEERS / "save_mlflow_model.py", setting.bundle, str(setting.size), "model"], folder)
        return [*mlflow, folder / "model"]
    if contender.server == "bentoml":
        service = "serve_bentoml:Inspection"
        return [python, "-m", "bentoml", "serve", service, "--working-dir", PEERS, *address]
    return [python, PEERS / f"serve_{contender.server}.py"]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


COLUMNS = (
    "",
    *(f"requests/s, {clients}" for clients in CLIENTS),
    *(f"median / p99 ms, {clients}" for clients in CLIENTS),
    *(f"this project's multiple, {clients}" for clients in CLIENTS),
    "processor ms per answer, 8",
    "errors",
    "resident, MB",
    "start to ready, s",
)


def render(result: dict[str, Any]) -> str:
    """Return the table, and below it what the API costs, and what was measured beside."""
    rows = {row["name"]: row for row in result["rows"]}
    about = (
        f"`POST` with JPEGs of {IMAGE_PX} px, the model's images have {result['size']} px; {result['seconds']:g} s per point; "
        "1, 8 and 32 clients."
    )
    cells = [_cells(row, rows) for row in rows.values()]
    notes = [*_api_costs(rows), *endurance.render(result)]
    return "\n\n".join([about, table(COLUMNS, cells), "\n".join(f"- {note}" for note in notes)])


def _cells(row: dict[str, Any], rows: Mapping[str, Any]) -> list[str]:
    if "skipped" in row:
        return [row["name"], f"not measured: {row['skipped']}"]
    points = [row["points"][str(clients)] for clients in CLIENTS]
    rates = [f"{_median(point, 'requests_per_s'):.1f}" for point in points]
    times = [f"{_median(point, 'median_ms'):.1f} / {_median(point, 'p99_ms'):.1f}" for point in points]
    errors = sum(one["errors"] for point in points for one in point)
    held = f"{row['resident_bytes'] / 1e6:.0f}" if row["resident_bytes"] else "not measured"
    cpu = f"{_median(row['points']['8'], 'cpu_ms'):.1f}"
    multiples = [_multiple(rows, row["name"], clients) for clients in CLIENTS]
    return [row["name"], *rates, *times, *multiples, cpu, str(errors), held, f"{row['ready_s']:.1f}"]


def _median(point: Sequence[Mapping[str, float]], name: str) -> float:
    return median(one[name] for one in point)


def _multiple(rows: Mapping[str, Any], name: str, clients: int) -> str:
    ratio = _ratio(rows, OURS["form" if CONTENDERS[name].sends == "form" else "image"], name, clients)
    return f"{ratio:.2f}" if ratio else ""


def _ratio(rows: Mapping[str, Any], name: str, other: str, clients: int) -> float:
    """Return how many times another's requests/s one answers: the median of the turns; 0 where one has none."""
    ours, theirs = (rows[one].get("points", {}).get(str(clients), []) for one in (name, other))
    pairs = zip(ours, theirs, strict=True) if ours and theirs else ()
    ratios = [a["requests_per_s"] / b["requests_per_s"] for a, b in pairs if b["requests_per_s"]]
    return float(np.median(ratios)) if ratios else 0.0


def _api_costs(rows: Mapping[str, Any]) -> list[str]:
    """Say what storing, metrics, access, checks and errors take of the throughput of the bare application."""
    notes = []
    for sends, text in (("image", "an image as the body"), ("form", "a form")):
        ratios = [_ratio(rows, OURS[sends], BARE[sends], clients) for clients in CLIENTS]
        if all(ratios):
            costs = ", ".join(f"{100 * (1 - ratio):.0f} %" for ratio in ratios)
            notes.append(
                f"What the API adds costs, with {text}, of the bare application's requests/s: {costs}."
            )
    return notes
