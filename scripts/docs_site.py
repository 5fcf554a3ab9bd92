"""Collect the pages of the docs site in build/docs, and generate its reference from the settings and the OpenAPI document.

``make docs`` runs it and builds the site. The folders keep their places, so each relative link holds here and on the site.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from defect_detection.config import Config, RetrainConfig, load_config
from defect_detection.config.kinds import Expected
from defect_detection.serving.app import create_app

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
PAGES = BUILD / "docs"
COPIED = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "LICENSE",
    "docs",
    "benchmarks/README.md",
)
GENERATED = "This page is generated; do not edit it.\n"


def main() -> None:
    shutil.rmtree(PAGES, ignore_errors=True)
    for name in COPIED:
        copy(ROOT / name, PAGES / name)
    reference = PAGES / "docs/reference"
    reference.mkdir()
    (reference / "settings.md").write_text(settings_page(), encoding="utf-8")
    (reference / "operations.md").write_text(operations_page(openapi()), encoding="utf-8")
    (BUILD / "mkdocs.yml").write_text(with_folders(ROOT / "mkdocs.yml"), encoding="utf-8")


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def with_folders(path: Path) -> str:
    """Return the site's settings with each page of the decisions and the notes in the navigation."""
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    for title, folder in (("Decisions", "docs/decisions"), ("Notes", "docs/notes")):
        pages = sorted(page.relative_to(PAGES).as_posix() for page in (PAGES / folder).glob("*.md"))
        settings["nav"].append({title: pages})
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def settings_page() -> str:
    parts = ["# Settings\n", GENERATED, "`config.yaml` explains each key:\n"]
    parts += [block(ROOT / "config.yaml"), "## Keys of config.yaml\n", table(rows_of(Config))]
    parts += ["## Keys of re_train/re_train.yaml\n", table(rows_of(RetrainConfig))]
    return "\n".join(parts)


def block(path: Path) -> str:
    return f"```yaml\n{path.read_text(encoding='utf-8').rstrip()}\n```\n"


def table(rows: Iterator[tuple[str, ...]]) -> str:
    lines = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def rows_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, ...]]:
    """Yield key, accepted values, default and meaning of each setting, section by section."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from rows_of(field.annotation, f"{prefix}{name}.")
        else:
            expected = " or ".join(str(item) for item in field.metadata if isinstance(item, Expected))
            yield (
                f"`{prefix}{name}`",
                expected or "see config.yaml",
                shown(field.get_default(call_default_factory=True)),
                line(field.description or ""),
            )


def shown(value: Any) -> str:
    text = json.dumps(value, default=lambda other: other.as_posix() if isinstance(other, Path) else "…")
    return f"`{text}`" if len(text) < 80 else "see config.yaml"


def openapi() -> dict[str, Any]:
    """Return the OpenAPI document of a server with default settings, which keeps nothing."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "config.yaml"
        settings.touch()
        app = create_app(load_config(settings), recorder=lambda *_: None)
        answer: dict[str, Any] = app.test_client().get("/openapi.json").get_json()
    return answer


def operations_page(document: dict[str, Any]) -> str:
    parts = ["# HTTP operations\n", GENERATED, "[The API](../api.md) explains how to use them.\n"]
    for path, item in sorted(document["paths"].items()):
        for method, operation in item.items():
            parts += [f"## {method.upper()} {path}\n", operation.get("summary", "") + "\n"]
            parts += [fields(operation, document["components"]["schemas"])]
            parts += ["Answers: " + ", ".join(sorted(operation["responses"])) + "\n"]
    return "\n".join(parts)


def fields(operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    """Return a table of the parameters and of the keys of the body, empty where an operation takes none."""
    rows = [(one["name"], one["in"], one.get("description", "")) for one in operation.get("parameters", [])]
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = content["schema"]
        properties = schemas.get(schema.get("$ref", "").rpartition("/")[2], schema).get("properties", {})
        rows += [(name, kind, one.get("description", "")) for name, one in properties.items()]
    lines = [f"| `{name}` | {place} | {line(text)} |" for name, place, text in rows]
    return "\n".join(["| name | in | meaning |", "| --- | --- | --- |", *lines]) + "\n" if lines else ""


def line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    main()
