"""How training grows: seconds and memory at a number of drawn images, with nothing cached and with all cached, with a fourth
hyperparameter set, and after 5 % new images. Processor time per image says how training grows on a busy machine, too.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import datasets
from benchmarks.datasets import OK_CLASSES, DataSet
from benchmarks.options import Options
from benchmarks.processes import Finished
from benchmarks.project import Project, sets_override
from benchmarks.tables import mebibytes, spread, table
from defect_detection.data.samples import Sample, scan

COLUMNS = ("training images", "step", "seconds", "processor ms an image", "peak memory, MiB")
IMAGE_PX = 256
ONE_IN_NEW = 20  # 5 % of the images come later


def measure(options: Options) -> dict[str, Any]:
    """Go through the steps at every size, several times."""
    rows: list[dict[str, Any]] = []
    for n_images in options.sizes:
        repeated = [_steps(n_images, options) for _ in range(options.repetitions)]
        for step in repeated[0]:
            runs = [vars(one[step]) | {"output": ""} for one in repeated]
            rows.append({"images": n_images, "step": step, "runs": runs})
    return {"side": IMAGE_PX, "rows": rows}


def _steps(n_images: int, options: Options) -> dict[str, Finished]:
    """Train a project from nothing, and again and again as it changes; return what each training took."""
    _say(f"{n_images} images: drawing, where they aren't there yet")
    drawn = datasets.drawn(
        options.cache / "drawn" / f"scaling-{n_images}-{IMAGE_PX}",
        n_train=n_images + n_images // ONE_IN_NEW,
        n_test=max(30, n_images // 10),
        size=IMAGE_PX,
    )
    data, new = _held_back(drawn, options.work / "scaling" / "data")
    project = Project.new(options.work / "scaling" / "project", data, options.overrides)
    sets = project.hyperparameter_sets
    more = [*sets, sets[0] | {"name": "one_more", "dropout": 0.5}]
    steps = {}
    _say(f"{n_images} images: training, nothing cached")
    steps[f"{_sets(sets)}, nothing cached"] = project.train()
    _say(f"{n_images} images: training again")
    steps[f"{_sets(sets)}, all cached"] = project.train()
    _say(f"{n_images} images: training with one more set")
    steps[f"{_sets(more)}, all cached"] = project.train(sets_override(more))
    project.evaluate()
    datasets.add(new, data.train)
    _say(f"{n_images} images and {len(new)} new ones: training and retraining")
    steps[f"{_sets(sets)}, after 5 % new images"] = project.train()
    steps["re_train/re_train.py, from the registry"] = project.retrain()
    return steps


def _sets(sets: Sequence[object]) -> str:
    return f"{len(sets)} set" if len(sets) == 1 else f"{len(sets)} sets"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _held_back(drawn: DataSet, folder: Path) -> tuple[DataSet, list[Sample]]:
    """Copy a data set but for one in twenty of its training images; return the copy and those."""
    datasets.empty(folder)
    train, test = scan(drawn.train, OK_CLASSES)[0], scan(drawn.test, OK_CLASSES)[0]
    new = train[:: ONE_IN_NEW + 1]
    names = {sample.sha256 for sample in new}
    datasets.add([sample for sample in train if sample.sha256 not in names], folder / "train")
    datasets.add(test, folder / "test")
    return DataSet(folder.resolve()), new


def render(result: dict[str, Any]) -> str:
    """Return the table."""
    return f"Images drawn at {result['side']} px. Each step is a process of its own.\n\n{as_table(result['rows'])}"


def as_table(steps: Sequence[dict[str, Any]]) -> str:
    """Return a row for each step."""
    rows = [
        [
            str(row["images"]),
            row["step"],
            spread([run["seconds"] for run in row["runs"]], 1),
            spread([1000 * run["cpu_s"] / row["images"] for run in row["runs"]], 1),
            mebibytes(row["runs"]),
        ]
        for row in steps
    ]
    return table(COLUMNS, rows, texts=2)
