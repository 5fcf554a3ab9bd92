"""The public Python API: what `defect_detection` itself offers, and what the documents import."""

import re
from pathlib import Path

import pytest

import defect_detection
from defect_detection import errors

ROOT = Path(__file__).parents[1]
ERRORS = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.DefectDetectionError)
}
OF_THE_DATABASE = {"SlowReadError", "UnknownRecordError"}  # only the server meets them


def test_the_public_names_are_these():
    functions = {"load_config", "train", "evaluate", "retrain", "Inspector", "Inspection"}
    assert set(defect_detection.__all__) == functions | (ERRORS - OF_THE_DATABASE)


@pytest.mark.parametrize("name", defect_detection.__all__)
def test_each_public_name_is_there(name):
    value = getattr(defect_detection, name)
    assert value.__name__ == name
    assert value.__doc__


def test_other_names_are_unknown():
    with pytest.raises(AttributeError, match="no attribute 'tran'"):
        _ = defect_detection.tran


def test_the_copy_inside_a_logged_model_says_what_it_lacks(monkeypatch):
    monkeypatch.setitem(defect_detection._PLACES, "train", "left_out.train")
    with pytest.raises(ImportError, match=r"train: .* import defect_detection before MLflow loads a model"):
        _ = defect_detection.train


@pytest.mark.parametrize("page", ["README.md", "docs/python.md", "docs/export.md"])
def test_documents_import_public_names_only(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    imports = re.findall(r"^from (defect_detection\S*) import (.+)$", text, re.MULTILINE)
    assert {place for place, _ in imports} <= {"defect_detection"}
    assert {name for _, names in imports for name in names.split(", ")} <= set(defect_detection.__all__)
