"""The trained plant's images and inspector, for tests that change nothing."""

from pathlib import Path

import numpy as np
import pytest
from done_once import compiled_once  # noqa: F401  fixture
from plant import SIDE, Plant

from defect_detection.data.images import read_image
from defect_detection.inference.inspect import Inspector


@pytest.fixture(scope="session")
def inspector(trained_once: Plant) -> Inspector:
    return Inspector.load(trained_once.config().bundle_dir)


@pytest.fixture(scope="session")
def paths(trained_once: Plant) -> list[Path]:
    """All 80 images: more than a runtime sees before it compiles its form for many."""
    return sorted((trained_once.root / "data").rglob("*.png"))


@pytest.fixture(scope="session")
def pixels(paths: list[Path]) -> np.ndarray:
    """The same, decoded: uint8 array of shape (80, SIDE, SIDE, 3)."""
    return np.stack([read_image(path, (SIDE, SIDE)) for path in paths])
