"""The layers of the package: imports point down only, and heavy libraries load only where they are used."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

import defect_detection
from defect_detection.tracking import flavor

PACKAGE = Path(defect_detection.__file__).parent
NAME = PACKAGE.name

# From the bottom up. A module or folder may import those of the rows above its own, and itself.
LAYERS = [
    {"errors", "text"},
    {"processes"},
    {"files"},
    {"environment"},
    {"config"},
    {"data", "evaluation", "synthetic"},
    {"report", "formats"},
    {"model"},
    {"inference"},
    {"training"},  # computes frozen features with inference's runtime
    {"tracking", "records"},
    {"use_cases"},
    {"retraining"},
    {"serving"},
    {"scaling"},
    {"cli"},
]
RANK = {unit: rank for rank, units in enumerate(LAYERS) for unit in units}
HEAVY = {"tensorflow", "keras", "jax", "mlflow"}


def find_modules() -> dict[str, Path]:
    """Return every module's file by its full name, without the package's own."""
    files = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        files[".".join(parts).removesuffix(".__init__")] = path
    return {module: path for module, path in files.items() if module != NAME}


MODULES = find_modules()


@cache
def tree_of(module: str) -> ast.Module:
    """Return a module's syntax tree."""
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


@cache
def importing_nodes(module: str) -> list[ast.AST]:
    """Return what imports in a module, also inside its functions."""
    return [node for node in ast.walk(tree_of(module)) if isinstance(node, (ast.Import, ast.ImportFrom))]


def unit_of(module: str) -> str:
    """Return the folder or file right below the package: ``defect_detection.data.images`` → ``data``."""
    return module.split(".")[1]


def imports_of(module: str, nodes: Iterable[ast.AST] | None = None) -> Iterator[str]:
    """Yield the full name of everything that a module imports, also inside its functions; or what some of its nodes import."""
    for node in importing_nodes(module) if nodes is None else nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), folder_of(module))
            yield from (f"{source}.{alias.name}" for alias in node.names)


def folder_of(module: str) -> str:
    """Return the folder that a relative import of the module starts from."""
    is_folder = PACKAGE.parent.joinpath(*module.split(".")).is_dir()
    return module if is_folder else module.rpartition(".")[0]


def units_imported_by(module: str) -> set[str]:
    """Return which other units of the package a module imports (``__version__`` is none)."""
    inside = {unit_of(name) for name in imports_of(module) if name.startswith(NAME + ".")}
    return inside - {"__version__", unit_of(module)}


def test_every_module_has_its_layer():
    assert {unit_of(module) for module in MODULES} - RANK.keys() == set(), "give it a place in LAYERS"


def test_imports_point_down_only():
    upward = [
        f"{module} imports {imported}"
        for module in MODULES
        for imported in sorted(units_imported_by(module))
        if RANK[imported] >= RANK[unit_of(module)]
    ]
    assert upward == []


def test_no_modules_import_each_other_in_a_circle():
    graph = {}
    for module in MODULES:
        names = set(imports_of(module, tree_of(module).body))
        graph[module] = (names | {name.rpartition(".")[0] for name in names}) & MODULES.keys() - {module}
        graph[module] -= {folder_of(module)}  # a folder's own file is not asked for what lies in it
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("mlflow", {"tracking"}),
        ("flask", {"serving"}),
        ("keras", {"model", "training", "tracking"}),
        ("optuna", {"use_cases"}),
        ("typer", {"cli"}),
        ("rich", {"cli"}),  # what people see at a terminal
        ("ray", {"scaling"}),
        ("pyarrow", {"scaling"}),
        ("defusedxml", {"formats"}),
        ("sqlalchemy", {"records", "tracking"}),  # MLflow raises its errors
        ("alembic", {"records"}),
    ],
)
def test_a_library_is_imported_where_it_belongs(library, allowed):
    importers = {unit_of(module) for module in MODULES if library in map(root_of, imports_of(module))}
    assert importers <= allowed


def test_keras_is_imported_in_one_place():
    importers = {
        module for module in MODULES if any(name.partition(".")[0] == "keras" for name in imports_of(module))
    }
    assert importers <= {"defect_detection.model.backend", "defect_detection.model.forms"}  # for types


def test_only_the_command_line_prints():
    printing = {
        module
        for module in MODULES
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    apart = {  # a process of its own, which answers on its standard output; what a retraining's caller may pass as `say`
        f"{NAME}.tracking.fetch",
        f"{NAME}.processes.messages",
    }
    assert {module for module in printing if unit_of(module) != "cli"} <= apart


def root_of(module: str) -> str:
    return module.partition(".")[0]


def import_all_of(unit: str) -> str:
    return "import " + ", ".join(module for module in MODULES if unit_of(module) == unit)


def loaded_after(statement: str) -> set[str]:
    """Return which heavy libraries are loaded once a fresh interpreter has run the statement."""
    code = f"""
import json, runpy, sys
try:
    {statement}
except SystemExit as end:
    assert not end.code
print()
print(json.dumps([name for name in {sorted(HEAVY)} if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "statement",
    [
        "import defect_detection",
        import_all_of("inference"),
        import_all_of("serving"),
        "sys.argv = ['defect', '--help']; runpy.run_module('defect_detection.cli', run_name='__main__')",
    ],
    ids=["package", "inference", "serving", "--help"],
)
def test_start_up_loads_no_heavy_library(statement):
    assert loaded_after(statement) == set()


def test_a_heavy_library_would_be_noticed():
    assert loaded_after("sys.modules['jax'] = sys") == {"jax"}


def test_a_logged_model_carries_all_that_inference_can_import():
    above = {unit for unit, rank in RANK.items() if rank > RANK["inference"]}
    assert set(flavor._ABOVE) == above - {"tracking"}, "tracking loads it"
