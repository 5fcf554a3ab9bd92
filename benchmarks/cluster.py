"""What a Ray cluster costs: images inspected a second by the command alone, and by the same command on clusters of this machine."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import datasets
from benchmarks.alternate import alternate
from benchmarks.options import Options
from benchmarks.processes import ROOT, Unavailable, environment, run
from benchmarks.project import Project
from benchmarks.tables import mebibytes, spread, table

COLUMNS = ("inspected by", "images/s", "whole command, s", "peak memory, MiB")
NODES = (1, 2, 4)
_RATE = re.compile(r"(\d+) images at ([\d.]+) images/s")


def measure(options: Options) -> dict[str, Any]:
    """Inspect the same folder with each contender in turn, several times."""
    work, data = options.work / "ray", options.data_set()
    project = Project.new(work / "project", data, options.overrides)
    if not options.model:
        project.train()
    folder = datasets.flat_folder(data, work / "images", options.images)
    inspect = partial(_inspect, folder, options.model or project.bundle, work / "verdicts")
    contenders = {
        "`defect inspect`": partial(inspect, []),
        "`--engine ray`, started by the command": partial(inspect, ["--engine", "ray"]),
    } | {f"a cluster of {_nodes(count)}": partial(_on_nodes, count, inspect) for count in NODES}
    return {"images": options.images, "data": data.name, "rows": alternate(contenders, options.repetitions)}


def _inspect(folder: Path, model: Path, output: Path, engine: list[str]) -> dict[str, Any]:
    to = ["--output", str(datasets.empty(output))] if engine else []
    done = run(
        [sys.executable, "-m", "defect_detection.cli", "inspect", folder, "--model", model, *engine, *to],
        folder.parent,
    )
    found = _RATE.search(done.output)
    if found is None:
        raise Unavailable(
            f"expected the images and their rate in the last line, received {done.output[-200:]!r}"
        )
    return {"rate": float(found[2]), "seconds": done.seconds, "peak_bytes": done.peak_bytes}


def _on_nodes(count: int, inspect: Any) -> dict[str, Any]:
    with _cluster(count) as address:
        return dict(inspect(["--engine", "ray", "--address", address]), peak_bytes=None)


@contextmanager
def _cluster(nodes: int) -> Iterator[str]:
    """Start nodes of one processor each, and give the address."""
    script = ROOT / "benchmarks/peers/ray_cluster.py"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, script], text=True, env=environment(), **pipes) as process:  # type: ignore[call-overload]
        try:
            address = process.stdout.readline().strip()
            for _ in range(nodes - 1):
                process.stdin.write("add 1\n")
                process.stdin.flush()
                process.stdout.readline()
            yield address
        finally:
            process.stdin.close()
            process.wait()


def _nodes(count: int) -> str:
    return "1 node with one processor" if count == 1 else f"{count} nodes with one processor each"


def render(result: dict[str, Any]) -> str:
    """Return the table."""
    about = f"{result['images']} images of {result['data']}, each contender in turn; all on the processors of one machine."
    return f"{about}\n\n{table(COLUMNS, [_cells(row) for row in result['rows']])}"


def _cells(row: dict[str, Any]) -> list[str]:
    if "skipped" in row:
        return [row["name"], f"skipped: {row['skipped']}"]
    runs = row["runs"]
    memory = "–" if runs[0]["peak_bytes"] is None else mebibytes(runs)
    return [
        row["name"],
        spread([run["rate"] for run in runs], 0),
        spread([run["seconds"] for run in runs], 1),
        memory,
    ]
