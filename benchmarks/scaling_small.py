"""How training grows up to a hundred thousand images: drawn and seen small, so that one machine has the time and the disk for them.

The work for each pixel is small then; reading, hashing, the audit, near duplicates, the fits and their memory are those of any
training. It takes hours, so an interrupted run goes on where it stopped: the time before the interruption counts too.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import datasets
from benchmarks.options import Options
from benchmarks.processes import Finished, children_cpu_s
from benchmarks.project import Project
from benchmarks.scaling import as_table

DRAWN_PX, SEEN_PX = 64, 32  # 32 is the smallest data.image_size
COLD, WARM = "nothing cached", "all cached"


def measure(options: Options) -> dict[str, Any]:
    """Train at every size with nothing cached, then with all cached."""
    folder = options.work / "scaling_small"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"images": n_images, "step": step, "runs": [vars(finished) | {"output": ""}]}
        for n_images in options.sizes
        for step, finished in _steps(n_images, folder, options).items()
    ]
    shutil.rmtree(folder)
    return {"rows": rows}


def _steps(n_images: int, folder: Path, options: Options) -> dict[str, Finished]:
    """Return what each training took, now or in an interrupted run."""
    notes = Notes(folder / f"{n_images}.json")
    if notes.was_killed or not notes.known:
        notes.forget()
        data = datasets.drawn(
            options.cache / "drawn" / f"scaling-{n_images}-{DRAWN_PX}",
            n_train=n_images,
            n_test=max(30, n_images // 10),
            size=DRAWN_PX,
        )
        Project.new(folder / str(n_images), data, (f"data.image_size={SEEN_PX}", *options.overrides))
    project = Project(folder / str(n_images))
    steps = {}
    for step in (COLD, WARM):
        print(f"{n_images} images: training, {step}", file=sys.stderr, flush=True)
        steps[step] = notes.once(step, project.train)
    shutil.rmtree(project.folder, ignore_errors=True)  # its cache takes gigabytes
    return steps


class Notes:
    """A file of what each step took so far, so that an interrupted measurement goes on.

    An interrupted step has its time up to then. A killed one does not, so all steps of its project begin again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.known: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}

    @property
    def was_killed(self) -> bool:
        return any(step["state"] == "running" for step in self.known.values())

    def forget(self) -> None:
        self.known = {}

    def once(self, name: str, run: Callable[[], Finished]) -> Finished:
        """Return what a step took; run it unless it is done."""
        step = self.known.get(name, {"state": "new", "seconds": 0.0, "cpu_s": 0.0, "peak_bytes": None})
        before = Finished(step["seconds"], step["cpu_s"], step["peak_bytes"], "")
        if step["state"] == "done":
            return before
        self._write(name, "running", before)
        started, used = time.perf_counter(), children_cpu_s()
        try:
            finished = run()
        except BaseException:
            spent = time.perf_counter() - started, children_cpu_s() - used
            self._write(name, "stopped", _sum(before, Finished(*spent, None, "")))
            raise
        finished = _sum(before, finished)
        self._write(name, "done", finished)
        return finished

    def _write(self, name: str, state: str, took: Finished) -> None:
        self.known[name] = {"state": state} | vars(replace(took, output=""))
        self._path.write_text(json.dumps(self.known, indent=1), encoding="utf-8")


def _sum(one: Finished, other: Finished) -> Finished:
    peaks = [peak for peak in (one.peak_bytes, other.peak_bytes) if peak]
    return Finished(
        one.seconds + other.seconds, one.cpu_s + other.cpu_s, max(peaks, default=None), other.output
    )


def render(result: dict[str, Any]) -> str:
    """Return the table, and what each further image takes."""
    rows = result["rows"]
    cold = [(row["images"], row["runs"][0]) for row in rows if row["step"] == COLD]
    grown = [
        f"{1000 * (more['cpu_s'] - less['cpu_s']) / (many - few):.1f} ms from {few} to {many} images"
        for (few, less), (many, more) in pairwise(cold)
    ]
    growth = (
        f"\n\nProcessor time of each further image with nothing cached: {', '.join(grown)}." if grown else ""
    )
    return (
        f"Images drawn at {DRAWN_PX} px, with `data.image_size: {SEEN_PX}`. Each step is a process of its own.\n\n"
        f"{as_table(rows)}{growth}"
    )
