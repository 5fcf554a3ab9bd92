"""Measure the cost of larger images: one inspection, uncached training, memory and cache, at several ``data.image_size``."""

from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import datasets
from benchmarks.alternate import alternate
from benchmarks.datasets import DataSet
from benchmarks.inference import LATENCY_IMAGES, Contender, Measurement
from benchmarks.options import Options
from benchmarks.project import Project
from benchmarks.tables import mebibytes, spread, table
from defect_detection.model.bundle import read_card

COLUMNS = (
    "`data.image_size`, px",
    "one image, ms",
    "training, s",
    "peak memory of training, MiB",
    "cache, MB a training image",
)
FILES = 50  # different images, taken in turn


def measure(options: Options) -> dict[str, Any]:
    """Train and inspect at every size in turn, several times; return a row for each."""
    data, work = options.data_set(), options.work / "image_size"
    sizes = {str(size): partial(_at, size, data, work / str(size), options) for size in options.image_sizes}
    return {"data": data.name, "rows": alternate(sizes, options.repetitions)}


def _at(size: int, data: DataSet, folder: Path, options: Options) -> dict[str, Any]:
    project = Project.new(folder, data, (*options.overrides, f"data.image_size={size}"))
    trained = project.train()
    task = {
        "folder": str(datasets.flat_folder(data, folder / "images", FILES)),
        "bundle": str(project.bundle),
        "size": size,
        "latency_images": LATENCY_IMAGES,
    }
    inspected = Measurement(Contender("this_project"), task, datasets.empty(folder / "inspected"), options)()
    return {
        "train_images": int(read_card(project.bundle).data["train_images"]),
        "seconds": trained.seconds,
        "peak_bytes": trained.peak_bytes,
        "cache_bytes": sum(file.stat().st_size for file in (folder / "cache").rglob("*") if file.is_file()),
        "latencies_ms": inspected["latencies_ms"],
    }


def render(result: dict[str, Any]) -> str:
    """Return the table."""
    about = f"Data set: {result['data']}."
    return f"{about}\n\n{table(COLUMNS, [_cells(row) for row in result['rows']])}"


def _cells(row: dict[str, Any]) -> list[str]:
    if "skipped" in row:
        return [row["name"], f"skipped: {row['skipped']}"]
    runs = row["runs"]
    return [
        row["name"],
        spread([median(run["latencies_ms"]) for run in runs], 1),
        spread([run["seconds"] for run in runs], 1),
        mebibytes(runs),
        f"{runs[0]['cache_bytes'] / runs[0]['train_images'] / 1e6:.1f}",
    ]
