"""Write a tiny model that finds bright images defective: ``python tiny_model.py FOLDER``."""

import sys
from pathlib import Path

import keras

from defect_detection.model.bundle import KERAS_FILE, OPENVINO_FILE
from defect_detection.model.export import to_openvino


def main(folder: Path) -> None:
    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    bright = keras.layers.AveragePooling2D(16)(keras.layers.Rescaling(1 / 255)(image))
    filters = keras.layers.Conv2D(
        1, 1, kernel_initializer="ones", bias_initializer=keras.initializers.Constant(-1)
    )
    evidence = keras.layers.Reshape((2, 2), name="evidence")(filters(bright))
    mean = keras.ops.mean(evidence, axis=(1, 2))
    outputs = {"score": keras.layers.Activation("sigmoid", name="score")(mean), "evidence": evidence}
    model = keras.Model(image, outputs)
    model.save(folder / KERAS_FILE)
    to_openvino(model, folder / OPENVINO_FILE)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
