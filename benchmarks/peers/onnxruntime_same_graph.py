"""ONNX Runtime on this project's graph."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from harness import Model, Task, decode, main

BATCH = 16


def prepare(task: Task) -> None:
    """Write model.onnx into the work folder: Keras to SavedModel, and tf2onnx on that.

    Keras' own ``export(format="onnx")`` leaves two constants of this graph as inputs that nobody can give.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras

    saved = Path(task["work"], "saved_model")
    keras.models.load_model(Path(task["bundle"], "best_cnn_model.keras")).export(saved, verbose=False)
    command = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", saved, "--output", _model(task)]
    subprocess.run(command, check=True)


def _model(task: Task) -> Path:
    return Path(task["work"], "model.onnx")


def load(task: Task) -> Model:
    import onnxruntime

    session = onnxruntime.InferenceSession(_model(task), providers=["CPUExecutionProvider"])

    def scores(images: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(["score"], {"image": images})[0])

    def many(folder: Path) -> int:
        files = sorted(folder.iterdir())
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            images = list(threads.map(lambda path: decode(path, task["size"]), files[:BATCH]))
            count = 0
            for start in range(0, len(files), BATCH):
                following = [
                    threads.submit(decode, path, task["size"])
                    for path in files[start + BATCH : start + 2 * BATCH]
                ]
                count += len(scores(np.stack(images)))
                images = [job.result() for job in following]
        return count

    return Model(
        lambda image: float(scores(image[None])[0]),
        lambda path: float(scores(decode(path, task["size"])[None])[0]),
        many,
    )


if __name__ == "__main__":
    main(load, prepare)
