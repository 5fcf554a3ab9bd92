"""anomalib's OpenVINO inferencer on a PaDiM that anomalib trains, from random weights: pretrained ones would have to be downloaded."""

import warnings
from pathlib import Path

import numpy as np
from harness import Model, Task, main

warnings.filterwarnings("ignore")  # of Lightning, on every call


def prepare(task: Task) -> None:
    """Train on the OK images for the one epoch that PaDiM takes, and export to OpenVINO."""
    from anomalib.data import Folder
    from anomalib.engine import Engine
    from anomalib.models import Padim

    data = Folder(
        name="benchmark",
        root=task["plain"],
        normal_dir="train/ok",
        normal_test_dir="test/ok",
        abnormal_dir="test/defective",
        num_workers=0,
    )
    model = Padim(pre_trained=False, visualizer=False)
    engine = Engine(default_root_dir=task["work"], accelerator="cpu", devices=1)
    engine.fit(model=model, datamodule=data)
    engine.export(model=model, export_type="openvino", export_root=task["work"])


def load(task: Task) -> Model:
    from anomalib.deploy import OpenVINOInferencer

    inferencer = OpenVINOInferencer(next(Path(task["work"]).rglob("model.xml")), device="CPU")

    def score(image: np.ndarray | Path) -> float:
        return float(np.ravel(inferencer.predict(image).pred_score)[0])

    def many(folder: Path) -> int:
        return sum(score(path) >= 0 for path in sorted(folder.iterdir()))

    return Model(score, score, many)


if __name__ == "__main__":
    main(load, prepare)
