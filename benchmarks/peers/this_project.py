"""This project's Inspector. The task's `precision` is one of those that it offers, or int8: an 8-bit copy of the bundle."""

from pathlib import Path

import numpy as np
from harness import Model, Task, main

from defect_detection.config import load_config
from defect_detection.data.walk import find_images
from defect_detection.inference.inspect import Inspector
from defect_detection.use_cases.export import export

SETTINGS = "training: {hyperparameter_sets: [{name: none}]}\n"


def prepare(task: Task) -> None:
    """Write the 8-bit copy, where one is measured; its ranges are those of the training images."""
    if task["precision"] == "int8":
        path, images = Path(task["work"], "config.yaml"), Path(task["plain"])
        path.write_text(SETTINGS, encoding="utf-8")
        folders = [f"data.{split}_dir={images / split}" for split in ("train", "test")]
        config = load_config(path, [f"data.image_size={task['size']}", *folders])
        export("openvino", Path(task["bundle"]), _int8(task), config, int8=True)


def _int8(task: Task) -> Path:
    return Path(task["work"], "int8")


def load(task: Task) -> Model:
    if task["precision"] == "int8":
        inspector = Inspector.load(_int8(task))
    else:
        inspector = Inspector.load(Path(task["bundle"]), precision=task["precision"])

    def one(image: np.ndarray) -> float:
        return float(inspector.score(image[None])["score"][0])

    def file(path: Path) -> float:
        return next(iter(inspector.inspect([path]))).score or 0.0

    def many(folder: Path) -> int:
        return sum(
            inspection.score is not None
            for inspection in inspector.inspect(find_images([str(folder)]).images)
        )

    return Model(one, file, many)


if __name__ == "__main__":
    main(load, prepare)
