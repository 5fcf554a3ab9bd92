"""A process that is started imports the same copy of this package."""

import os
import sys
from pathlib import Path
from zipfile import ZipFile

import defect_detection
from defect_detection.processes.python_path import python_path


def test_copies_of_the_package_that_mlflow_puts_in_front_are_left_out(tmp_path, monkeypatch):
    folder, packed, other = tmp_path / "code", tmp_path / "defect_detection.zip", tmp_path / "other"
    for place in (folder / "defect_detection", other):
        place.mkdir(parents=True)
        (place / "__init__.py").touch()
    with ZipFile(packed, "w") as file:
        file.writestr("defect_detection/__init__.py", "")
    own = str(Path(defect_detection.__file__).parents[1])
    monkeypatch.setattr(sys, "path", [str(packed), str(folder), "", str(other), own])
    assert python_path()["PYTHONPATH"].split(os.pathsep) == [str(other), own]
