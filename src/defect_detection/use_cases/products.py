"""List, create, copy and archive the products of a plant."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from defect_detection.config import Config
from defect_detection.config.load import product_settings
from defect_detection.config.products import (
    ARCHIVED,
    DEFAULT,
    FILE,
    FOLDER,
    SHARED,
    archived_names,
    check_name,
    folder_of,
    product_names,
    settings_of,
)
from defect_detection.config.yaml_edit import decode, without_sections
from defect_detection.errors import ConfigError
from defect_detection.files.trail import leave
from defect_detection.files.unfinished import working_folder
from defect_detection.tracking.lease import who
from defect_detection.tracking.registry import Registry
from defect_detection.use_cases.project import FOLDERS, shipped
from defect_detection.use_cases.turn import PRODUCTION_ALIAS, number_of

_RETRAINING = "re_train/re_train.yaml"


@dataclass(frozen=True, slots=True)
class Product:
    """A product of a plant. `in_production`: the version; None: nothing. `problem`: why its settings cannot be used, or ""."""

    name: str
    folder: Path
    state: Literal["active", "archived"]
    in_production: int | None = None
    problem: str = ""


def list_products(plant: Config) -> list[Product]:
    """Return the products, the default one first, the archived ones last.

    Raises:
        TrackingError: the registry can't be read.
    """
    active = [_listed(plant, name) for name in (DEFAULT, *product_names(plant.root))]
    archived = (Product(name, folder_of(plant.root, name), "archived") for name in archived_names(plant.root))
    return [*active, *archived]


def settings_of_product(plant: Config, name: str) -> Config:
    """Return the settings of a product, from those of the plant.

    Raises:
        ConfigError: there is no such product, or its settings are wrong.
    """
    return plant if name == DEFAULT else product_settings(plant, name, settings_of(plant.root, name))


def create_product(plant: Config, name: str, by: str | None = None) -> Path:
    """Make a product with the default settings, and folders for its images. Return its folder.

    Args:
        by: who asks for it; the user of this process when not given.

    Raises:
        ConfigError: the name is none, or is taken.
    """
    texts = {FILE: without_sections(shipped(FILE), SHARED), _RETRAINING: shipped(_RETRAINING)}
    return _make(plant, name, texts, "product created", by)


def copy_product(plant: Config, name: str, new: str, by: str | None = None) -> Path:
    """Make a product with the settings of another one. Images and models are not copied. Return its folder.

    Args:
        by: as for `create_product`.

    Raises:
        ConfigError: there is no such product, or the new name is none, or is taken.
    """
    source = settings_of_product(plant, name)
    text = decode(source.file.read_bytes()) if source.file.is_file() else ""
    retraining = source.root / _RETRAINING
    other = retraining.read_text(encoding="utf-8") if retraining.is_file() else shipped(_RETRAINING)
    texts = {FILE: without_sections(text, SHARED), _RETRAINING: other}
    return _make(plant, new, texts, f"product copied from {name}", by)


def archive_product(plant: Config, name: str, *, undo: bool = False) -> Path:
    """Take a product out of use, or bring it back. Its inspections, images and models stay. Return its folder.

    Raises:
        ConfigError: there is no such product, or it is the default one.
    """
    if name == DEFAULT:
        raise ConfigError(f"product: expected another one than '{DEFAULT}', which is {plant.root} itself")
    folder, before, after = folder_of(plant.root, name), FILE, ARCHIVED
    if undo:
        before, after = after, before
        if name not in archived_names(plant.root):
            raise ConfigError(f"product '{name}' is not archived; `defect products list` shows the products")
    else:
        folder = settings_of(plant.root, name).parent
    (folder / before).replace(folder / after)
    leave(plant.plant, who(), "product brought back" if undo else "product archived", name, str(folder))
    return folder


def _listed(plant: Config, name: str) -> Product:
    folder = folder_of(plant.root, name)
    try:
        config = settings_of_product(plant, name)
    except ConfigError as error:
        return Product(name, folder, "active", problem=str(error))
    found = Registry(config.tracking_uri).version_of(config.mlflow.production_model_name, PRODUCTION_ALIAS)
    return Product(name, folder, "active", number_of(found))


def _make(plant: Config, name: str, texts: Mapping[str, str], what: str, by: str | None) -> Path:
    """Write the files of a product beside its place, check them, and give the folder its name last."""
    folder = _free_folder(plant, name)
    folder.parent.mkdir(exist_ok=True)
    with working_folder(folder.parent) as work:
        new = work / name
        for place in FOLDERS:
            (new / place).mkdir(parents=True)
        for file, text in texts.items():
            (new / file).parent.mkdir(exist_ok=True)
            (new / file).write_text(text, encoding="utf-8")
        product_settings(plant, name, new / FILE)
        new.rename(folder)
    leave(plant.plant, by or who(), what, name, str(folder))
    return folder


def _free_folder(plant: Config, name: str) -> Path:
    if not plant.file.is_file():
        raise ConfigError(
            f"{plant.file}: not found; run `defect init` to write this file, then create products"
        )
    folder = plant.root / FOLDER / check_name(name)
    taken = (
        [DEFAULT, *(path.name for path in folder.parent.iterdir())] if folder.parent.is_dir() else [DEFAULT]
    )
    if same := next((other for other in taken if other.casefold() == name.casefold()), None):
        raise ConfigError(f"product: expected a new name, received '{name}': '{same}' exists already")
    return folder
