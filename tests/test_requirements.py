"""The pinned requirements can be checked by their hashes, and name no place to fetch them from."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "name",
    [
        "requirements.txt",
        "requirements-dev.txt",
        "deploy/requirements.txt",
        "deploy/requirements-slim.txt",
        "tests/serving/tritonclient.txt",
        "tests/tracking/boto3.txt",
    ],
)
def test_each_requirement_is_pinned_with_hashes_and_without_an_address(name):
    text = (ROOT / name).read_text()
    assert not re.search(r"://|^-|\s@\s", text, re.MULTILINE)
    for entry in text.replace("\\\n", " ").splitlines():
        assert re.match(
            r"[a-z0-9._-]+(\[[a-z0-9,_-]+\])?==\S+ (; .*?)?.*--hash=sha256:[0-9a-f]{64}", entry
        ), entry


def test_the_requirements_pin_what_the_package_imports_and_what_builds_it():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = {
        re.match(r"[a-z0-9._-]+", line)[0]
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if "==" in line
    }
    wanted = settings["project"]["dependencies"] + settings["build-system"]["requires"]
    assert {re.match(r"[A-Za-z0-9._-]+", one)[0].lower() for one in wanted} <= pinned
