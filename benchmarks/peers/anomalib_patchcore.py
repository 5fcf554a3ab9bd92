"""Fit anomalib's PatchCore with ResNet-18 on OK images, from random weights: pretrained ones would have to be downloaded."""

import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")  # of Lightning, on every call


def fit(data: Path, work: Path) -> None:
    """Fit on `data`/train/ok as anomalib does by default. It also judges the few images below `data`/test."""
    from anomalib.data import Folder
    from anomalib.engine import Engine
    from anomalib.models import Patchcore

    folder = Folder(
        name="benchmark",
        root=data,
        normal_dir="train/ok",
        normal_test_dir="test/ok",
        abnormal_dir="test/defective",
        num_workers=0,
    )
    model = Patchcore(backbone="resnet18", pre_trained=False, visualizer=False)
    Engine(default_root_dir=work, accelerator="cpu", devices=1).fit(model=model, datamodule=folder)


if __name__ == "__main__":
    fit(Path(sys.argv[1]), Path(sys.argv[2]))
