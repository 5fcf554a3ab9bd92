"""Measure a loaded model in a process of its own. Needs nothing but the standard library, NumPy and Pillow.

A script beside this file gives `main` a function that loads its model. It is started with the path of a task, a JSON file, and
prints one JSON object as its last line.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Task = dict[str, Any]
"""folder: of the image files; bundle: this project's model folder; work: a folder for what a peer makes; size: height and width in
pixels of a decoded image; latency_images: how many single images; started: Unix time at which the process was started."""

_WARM_UP = 10  # calls that aren't counted
_DIFFERENT = 50  # decoded images that are held and taken in turn


@dataclass(frozen=True)
class Model:
    """What can be measured; None where a contender has no such thing.

    one: scores a decoded image, uint8 (size, size, 3), RGB. file: scores an image file. many: scores all images of a folder and
    returns how many.
    """

    one: Callable[[np.ndarray], float] | None
    file: Callable[[Path], float] | None
    many: Callable[[Path], int]


def main(load: Callable[[Task], Model], prepare: Callable[[Task], None] | None = None) -> None:
    """Do the task whose path is the last argument: measure, or with ``prepare`` before it make what measuring needs."""
    task = json.loads(Path(sys.argv[-1]).read_text(encoding="utf-8"))
    if sys.argv[1] == "prepare":
        if prepare:
            prepare(task)
        return
    print(json.dumps(measure(load(task), task)))


def measure(model: Model, task: Task) -> dict[str, Any]:
    """Return seconds to the first verdict since the start of the process, milliseconds of single images, images/s of the folder."""
    files = sorted(Path(task["folder"]).iterdir())
    result: dict[str, Any] = {}
    if model.file:
        result["first_score"] = float(model.file(files[0]))
        result["first_verdict_s"] = time.time() - task["started"]
    if model.one:
        images = [decode(path, task["size"]) for path in files[:_DIFFERENT]]
        result["latencies_ms"] = _latencies(model.one, images, task["latency_images"])
    started = time.perf_counter()
    count = model.many(Path(task["folder"]))
    return result | {"images_per_s": count / (time.perf_counter() - started), "images": count}


def _latencies(one: Callable[[np.ndarray], float], images: list[np.ndarray], count: int) -> list[float]:
    taken = []
    for image in islice(cycle(images), _WARM_UP + count):
        started = time.perf_counter()
        one(image)
        taken.append((time.perf_counter() - started) * 1000)
    return taken[_WARM_UP:]


def decode(path: Path, size: int) -> np.ndarray:
    """Return an image as a plain script reads it: uint8 (size, size, 3), RGB."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
