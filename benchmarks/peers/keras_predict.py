"""Keras on this project's graph: ``model.predict`` for one image, and on ``image_dataset_from_directory`` for a folder."""

import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from harness import Model, Task, decode, main


def load(task: Task) -> Model:
    model = keras.models.load_model(Path(task["bundle"], "best_cnn_model.keras"))

    def one(image: np.ndarray) -> float:
        return float(model.predict(image[None], verbose=0)["score"][0])

    def many(folder: Path) -> int:
        images = keras.utils.image_dataset_from_directory(
            folder, labels=None, image_size=(task["size"], task["size"]), shuffle=False, verbose=False
        )
        return len(
            model.predict(images.map(lambda batch: keras.ops.cast(batch, "uint8")), verbose=0)["score"]
        )

    return Model(one, lambda path: one(decode(path, task["size"])), many)


if __name__ == "__main__":
    main(load)
