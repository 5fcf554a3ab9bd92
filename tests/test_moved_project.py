"""A moved or copied project is complete and independent."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from done_once import compiled_once, drawn_once  # noqa: F401  fixtures
from plant import Plant

from defect_detection.data.walk import find_images
from defect_detection.use_cases.by_hand import rollback
from defect_detection.use_cases.evaluate import evaluate
from defect_detection.use_cases.inspection import load_inspector


@pytest.fixture
def line1(missing_two_once: Plant, tmp_path: Path) -> Iterator[Plant]:
    """The plant with version 1 in production, in a folder of its own, to which the paths of its store lead."""
    before = digests(missing_two_once.root)
    plant = missing_two_once.copy(tmp_path / "line1")
    assert plant.in_production()
    yield plant
    assert digests(missing_two_once.root) == before, "it has written to the project it was copied from"


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def assert_works(plant: Plant) -> None:
    """Inspect without a cache, evaluate a better candidate, and roll back."""
    config = plant.config()
    shutil.rmtree(config.cache_dir)
    assert load_inspector(config).name.startswith("Production_Reg v1")
    plant.make()
    assert evaluate(config).registered.version == 2
    shutil.rmtree(config.cache_dir)
    images = find_images([str(config.data.test_dir)]).images
    assert all(inspection.verdict for inspection in load_inspector(config).inspect(images))
    assert rollback(config).after.version == 1


def test_a_copied_project_works_alone_and_leaves_the_original_byte_for_byte(line1, tmp_path):
    before = digests(line1.root)
    line2 = line1.copy(tmp_path / "line2")
    assert_works(line2)
    assert digests(line1.root) == before


def test_a_moved_project_works_and_does_not_make_its_old_folder_again(line1, tmp_path):
    old = line1.root
    moved = Plant(old.rename(tmp_path / "Halle 3, Linie%201"))
    assert_works(moved)
    assert not old.exists()
