"""Name and find the products of a plant: each is a folder ``products/NAME`` with its own ``config.yaml``."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from defect_detection.config.yaml_file import did_you_mean
from defect_detection.errors import ConfigError

FOLDER = "products"  # in the folder of the plant's settings
DEFAULT = "default"  # the product of the plant's own settings
FILE = "config.yaml"
ARCHIVED = "archived.yaml"  # what the settings of an archived product are named
SHARED = ("serving", "records", "jobs")  # sections that a product takes from the plant
NAME_PATTERN = "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
NAME_IN_WORDS = (
    "a name of at most 64 letters (A to Z), digits, '-' and '_' that begins with a letter or a digit"
)

_WRITTEN = ("cache_dir", "report_dir", "bundle_dir", "best_model_info", "data.feedback_dir")
_READ = ("data.train_dir", "data.test_dir", "data.challenge_dir", "data.ignore_mask", "inference_images")


def reaches_others(key: str) -> bool:
    """Check whether a setting can affect other products: a shared section, a registry name, or a path."""
    return key.partition(".")[0] in (*SHARED, "mlflow") or key in (*_WRITTEN, *_READ, "inference_model_name")


def check_name(name: str) -> str:
    """Return the name of a product.

    Raises:
        ConfigError: it has other characters than a name may have.
    """
    if re.fullmatch(NAME_PATTERN, name):
        return name
    raise ConfigError(f"product: expected {NAME_IN_WORDS}, received {name[:80]!r}")


def folder_of(plant: Path, name: str) -> Path:
    """Return the folder that a product has, or would have. It is the plant's own for the default product."""
    return plant if name == DEFAULT else plant / FOLDER / check_name(name)


def product_names(plant: Path, file: str = FILE) -> list[str]:
    """Return the names of the products in a plant's folder, without the default one, in the order of the alphabet."""
    try:
        found = [path for path in (plant / FOLDER).iterdir() if re.fullmatch(NAME_PATTERN, path.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(path.name for path in found if path.name != DEFAULT and (path / file).is_file())


def archived_names(plant: Path) -> list[str]:
    """Return the names of the archived products."""
    return sorted(set(product_names(plant, ARCHIVED)) - set(product_names(plant)))


def settings_of(plant: Path, name: str) -> Path:
    """Return the settings file of a product.

    Raises:
        ConfigError: there is no such product, it is archived, or its folder is a link to elsewhere.
    """
    folder = folder_of(plant, name)
    if folder.resolve() != plant.resolve() / FOLDER / name:
        raise ConfigError(f"{folder}: expected a folder, received a link; move the product's folder here")
    if (folder / FILE).is_file():
        return folder / FILE
    if (folder / ARCHIVED).is_file():
        raise ConfigError(
            f"product '{name}' is archived: bring it back with `defect products archive {name} --undo`"
        )
    known = did_you_mean(name, [DEFAULT, *product_names(plant)])
    end = "" if known.endswith("?") else "."
    raise ConfigError(f"unknown product '{name}'{known}{end} `defect products create {name}` creates it")


def product_of(file: Path) -> tuple[Path, str] | None:
    """Return the plant's settings file and the product's name, if a settings file is that of a product."""
    folder = file.absolute().parent
    plant = folder.parent.parent / FILE
    is_product = folder.parent.name == FOLDER and file.name == FILE and plant.is_file()
    return (plant, folder.name) if is_product and re.fullmatch(NAME_PATTERN, folder.name) else None


def require_plant(config: Any) -> None:
    """Refuse the settings of a single product for a command that applies to the whole plant.

    Raises:
        ConfigError: names the settings of the plant.
    """
    if config.product != DEFAULT:
        raise ConfigError(
            f"{config.file}: this command applies to all products of the plant: use {config.plant / FILE} instead"
        )


def refuse_shared(document: dict[str, Any], source: str, plant: Path) -> None:
    """Refuse sections in the settings of a product that only the plant may set.

    Raises:
        ConfigError: names the first.
    """
    if found := next((name for name in SHARED if name in document), None):
        raise ConfigError(
            f"{source}: {found}: applies to all products, so set it in {plant}; delete the section here"
        )


def refuse_paths_outside(document: dict[str, Any], config: Any, source: str) -> None:
    """Refuse settings that make a product write outside its folder, and relative paths that lead out of it.

    Raises:
        ConfigError: names the key.
    """
    for key in (*_WRITTEN, *_READ):
        given, paths = list(_values(document, key)), list(_values(config, key))
        for at, path in enumerate(paths):
            is_named = key in _READ and at < len(given) and Path(given[at]).expanduser().is_absolute()
            if not is_named and not Path(path).is_relative_to(config.root):
                rule = "an absolute path, or " if key in _READ else ""
                told = f"expected {rule}a path in the folder of the product, received '{path}'"
                raise ConfigError(f"{source}: {key}: {told}", {key: told})


def _values(node: Any, key: str) -> Iterator[Any]:
    """Yield the values of a dotted key of a document or of settings; none where there is no value."""
    for name in key.split("."):
        node = node.get(name) if isinstance(node, dict) else getattr(node, name, None)
    if isinstance(node, list | tuple):
        yield from node
    elif node is not None:
        yield node
