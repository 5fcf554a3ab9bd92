"""What a typical Keras project has: a CNN of three convolutions at 128 px, three sets of hyperparameters, ten epochs each.

keras_cnn.py train DATA OUT: reads DATA/train and DATA/val, logs each set to MLflow in OUT, keeps the best by validation accuracy.
keras_cnn.py score DATA OUT: prints its scores of DATA/test.
"""

import json
import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras

SIDE, BATCH, EPOCHS = 128, 32, 10
CLASSES = ["ok", "defective"]  # so that 1 is defective
SETS = (
    {"filters": 32, "dropout": 0.3, "learning_rate": 0.001},
    {"filters": 32, "dropout": 0.5, "learning_rate": 0.0005},
    {"filters": 64, "dropout": 0.5, "learning_rate": 0.001},
)


def train(data: Path, out: Path) -> None:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{out / 'mlflow.db'}")
    mlflow.set_experiment(
        experiment_id=mlflow.create_experiment("cnn", artifact_location=(out / "artifacts").as_uri())
    )
    best = -1.0
    for settings in SETS:
        keras.utils.set_random_seed(42)
        with mlflow.start_run():
            mlflow.log_params({**settings, "epochs": EPOCHS, "batch_size": BATCH})
            model = build(**settings)
            history = model.fit(
                images(data / "train", True), validation_data=images(data / "val"), epochs=EPOCHS, verbose=0
            )
            for name, values in history.history.items():
                for epoch, value in enumerate(values):
                    mlflow.log_metric(name, value, step=epoch)
            # Requirements are given: inferring them takes longer than many a training.
            mlflow.tensorflow.log_model(model, name="model", pip_requirements=["keras", "tensorflow"])
        if history.history["val_accuracy"][-1] > best:
            best = history.history["val_accuracy"][-1]
            model.save(out / "best.keras")


def images(folder: Path, shuffle: bool = False) -> "object":
    """Return the images of a folder as the tutorials read them: decoded once, kept in memory, prefetched."""
    loaded = keras.utils.image_dataset_from_directory(
        folder,
        label_mode="binary",
        class_names=CLASSES,
        image_size=(SIDE, SIDE),
        batch_size=BATCH,
        shuffle=shuffle,
        seed=42,
        verbose=False,
    )
    return loaded.cache().prefetch(2)


def build(filters: int, dropout: float, learning_rate: float) -> keras.Model:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            layers.Rescaling(1 / 255),
            layers.RandomFlip("horizontal"),
            layers.Conv2D(filters, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(2 * filters, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(4 * filters, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(dropout),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(learning_rate), "binary_crossentropy", metrics=["accuracy"])
    return model


def score(data: Path, out: Path) -> None:
    test = images(data / "test")
    labels = [int(label) for _, batch in test for label in batch.numpy()[:, 0]]
    scores = keras.models.load_model(out / "best.keras").predict(test, verbose=0)[:, 0]
    print(json.dumps({"labels": labels, "scores": [float(value) for value in scores]}))


if __name__ == "__main__":
    {"train": train, "score": score}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
