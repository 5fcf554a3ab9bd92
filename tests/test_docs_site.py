"""The docs site: its pages and its generated reference. ``make docs`` checks the links."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from defect_detection.config import Config

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site():
    spec = importlib.util.spec_from_file_location("docs_site", ROOT / "scripts/docs_site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_has_its_place_in_the_navigation():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    listed = set(re.findall(r"docs/[\w-]+\.md", str(nav)))
    assert listed == {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}


def test_every_setting_is_in_the_reference_with_its_values(site):
    page = site.settings_page()
    for section, field in Config.model_fields.items():
        assert f"| `{section}" in page, field
    kind = "a multiple of 16 from 32 to 1024 (pixels), or [height, width] of two such numbers"
    assert f"| `data.image_size` | {kind} | `224` |" in page


def test_every_operation_is_in_the_reference_with_what_it_takes(site):
    page = site.operations_page(site.openapi())
    assert "## POST /predict\n" in page
    assert re.search(r"## POST /feedback\n.*?\| `inspection_id` \| application/json \|", page, re.DOTALL)


def test_every_file_that_the_architecture_names_exists():
    named = re.findall(r"`([\w/]+(?:\.py|/))`", (ROOT / "docs/architecture.md").read_text())
    package = ROOT / "src/defect_detection"
    inside = [name for name in named if not name.startswith(("src/", "tests/"))]
    assert len(inside) > 30
    assert [name for name in inside if not (package / name).exists()] == []
