"""A plant with room for a better model."""

from pathlib import Path

import pytest
from done_once import (  # noqa: F401  fixtures
    built_once,
    compiled_once,
    drawn_once,
    newest_tables_found_once,
)
from in_production import put_in_production
from once import once
from plant import Plant


@pytest.fixture(scope="session")
def beatable_once(trained_once: Plant, tmp_path_factory: pytest.TempPathFactory) -> Plant:
    return Plant(once(tmp_path_factory, "beatable", lambda root: _put_in_production(trained_once.copy(root))))


@pytest.fixture
def beatable(beatable_once: Plant, tmp_path: Path) -> Plant:
    """A plant whose model in production misses a defect of the validation and of the test images."""
    return beatable_once.copy(tmp_path)


def _put_in_production(plant: Plant) -> None:
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        threshold = max(plant.threshold_missing(1, "validation"), plant.threshold_missing(1, "test"))
        put_in_production(plant, plant.make(threshold))
