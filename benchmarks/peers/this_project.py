"""This project's Inspector. The task's `precision` is one of those that it offers."""

from pathlib import Path

import numpy as np
from harness import Model, Task, main

from defect_detection.inference.inspect import Inspector, find_images


def load(task: Task) -> Model:
    inspector = Inspector.load(Path(task["bundle"]), precision=task["precision"])

    def one(image: np.ndarray) -> float:
        return float(inspector.score(image[None])["score"][0])

    def file(path: Path) -> float:
        return next(iter(inspector.inspect([path]))).score or 0.0

    def many(folder: Path) -> int:
        return sum(
            inspection.score is not None for inspection in inspector.inspect(find_images([str(folder)]))
        )

    return Model(one, file, many)


if __name__ == "__main__":
    main(load)
