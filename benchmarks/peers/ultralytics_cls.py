"""Ultralytics' classifier, from its yaml: its pretrained weights would have to be downloaded.

ultralytics_cls.py train DATA OUT EPOCHS: what ``yolo classify train`` does, on DATA/train and DATA/val.
ultralytics_cls.py score DATA OUT: prints its scores of DATA/test.
ultralytics_cls.py TASK: measures predict, see harness.py; with ``prepare`` before it, trains for one epoch.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

os.environ["YOLO_OFFLINE"] = "true"
os.environ.setdefault("YOLO_CONFIG_DIR", str(Path.cwd()))

from harness import Model, Task, main
from ultralytics import YOLO

SIDE = 224
MODEL = "yolo11n-cls.yaml"


def train(data: str, out: str, epochs: str) -> None:
    YOLO(MODEL).train(
        data=data,
        epochs=int(epochs),
        imgsz=SIDE,
        device="cpu",
        pretrained=False,
        plots=False,
        project=out,
        name="run",
        exist_ok=True,
        verbose=False,
    )


def score(data: str, out: str) -> None:
    model = YOLO(weights(Path(out)))
    labels, scores = [], []
    for label, name in enumerate(("ok", "defective")):
        for path in sorted(Path(data, "test", name).iterdir()):
            labels.append(label)
            scores.append(defective(model, path))
    print(json.dumps({"labels": labels, "scores": scores}))


def weights(out: Path) -> Path:
    return out / "run" / "weights" / "best.pt"


def defective(model: YOLO, source: Path | np.ndarray) -> float:
    """Return P(defective) of an image file, or of an uint8 array (height, width, 3), BGR."""
    probabilities = model.predict(source, imgsz=SIDE, device="cpu", verbose=False)[0].probs.data
    return float(probabilities[list(model.names.values()).index("defective")].clamp(0, 1))


def prepare(task: Task) -> None:
    train(task["plain"], task["work"], "1")


def load(task: Task) -> Model:
    model = YOLO(weights(Path(task["work"])))

    def many(folder: Path) -> int:
        return sum(
            1 for _ in model.predict(folder, imgsz=SIDE, device="cpu", batch=16, stream=True, verbose=False)
        )

    return Model(
        lambda image: defective(model, np.ascontiguousarray(image[..., ::-1])),
        lambda path: defective(model, path),
        many,
    )


if __name__ == "__main__":
    verbs = {"train": train, "score": score}
    if sys.argv[1] in verbs:
        verbs[sys.argv[1]](*sys.argv[2:])
    else:
        main(load, prepare)
