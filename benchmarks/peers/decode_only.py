"""The limit of decoding: this project's reader on all cores, and no model."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import Model, Task, main

from defect_detection.data.images import read_image


def load(task: Task) -> Model:
    size = (task["size"], task["size"])

    def many(folder: Path) -> int:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            return sum(1 for _ in threads.map(lambda path: read_image(path, size), sorted(folder.iterdir())))

    many(Path(task["folder"]))  # warm
    return Model(None, None, many)


if __name__ == "__main__":
    main(load)
