"""Load ``config.yaml``: typed, with a default for nearly every key, and with errors that name the key.

`sections` is the table of settings; ``config.yaml`` documents each of them. Overrides such as
``training.epochs=5`` win over the file, the file wins over the defaults. Secrets come from the environment.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import PrivateAttr

from defect_detection.config.base import Section, setting
from defect_detection.config.evaluation import EvaluationConfig
from defect_detection.config.kinds import (
    Expected,
    FilePath,
    FileText,
    OptionalPositive,
    Share,
    Text,
    WholeNumber,
)
from defect_detection.config.products import (
    DEFAULT,
    FOLDER,
    SHARED,
    product_of,
    refuse_paths_outside,
    refuse_shared,
    settings_of,
)
from defect_detection.config.sections import (
    DataConfig,
    InferenceConfig,
    JobsConfig,
    MlflowConfig,
    MonitoringConfig,
    RecordsConfig,
    ScalingConfig,
    ServingConfig,
)
from defect_detection.config.training import TrainingConfig
from defect_detection.config.yaml_file import apply_overrides, fill_empty_sections, read_document, validate
from defect_detection.environment import address_of, read_environment
from defect_detection.files.switch import finish
from defect_detection.files.unfinished import remove_leftovers

DEFAULT_PATH = Path("config.yaml")
SERVER_SETTINGS = "DEFECT_SERVER_SETTINGS"  # environment variable for processes started by a server


class Config(Section):
    """All settings of a product. `root` is the folder of its file: relative paths start there."""

    seed: WholeNumber = setting(42, "random seed of the split, the augmentation and the weights of the head.")
    cache_dir: FilePath = setting(
        Path("cache"), "cache of decoded images and features. It can be deleted at any time."
    )
    cache_max_gb: OptionalPositive = setting(
        20,
        "size limit of cache_dir in gigabytes; null: no limit. The least recently used files are deleted first, never "
        "files in use. `defect cache` shows the contents, `defect cache clear` deletes them.",
    )
    report_dir: FilePath = setting(Path("reports"), "evaluation reports (HTML, JSON, figures).")
    evaluation_threshold: Share = setting(
        0.80,
        "required accuracy on the test images. A model that reaches it is registered as mlflow.production_model_name, otherwise as "
        "mlflow.testing_model_name.",
    )
    inference_model_name: Text = setting("Production_Reg", "registered model used by inference.")
    inference_model_alias: Text = setting("prod", "alias of the version.")
    inference_images: Annotated[tuple[FileText, ...], Expected("a list of files, folders or patterns")] = (
        setting(
            ("data/test",), "images that are inspected by default. Images on the command line replace them."
        )
    )
    bundle_dir: FilePath = setting(
        Path("temp_best_model"),
        "the best model of the last training, with everything that inspection needs.",
        advanced=True,
    )
    best_model_info: FilePath = setting(
        Path("best_model_info.txt"),
        "names the MLflow run and the model in bundle_dir. Evaluation reads it.",
        advanced=True,
    )
    mlflow: MlflowConfig = setting(
        MlflowConfig(), "MLFLOW_TRACKING_URI (environment or .env) sets where MLflow stores runs and models."
    )
    data: DataConfig = setting(DataConfig())
    training: TrainingConfig = setting(TrainingConfig())
    evaluation: EvaluationConfig = setting(EvaluationConfig())
    inference: InferenceConfig = setting(InferenceConfig())
    serving: ServingConfig = setting(ServingConfig())
    records: RecordsConfig = setting(
        RecordsConfig(),
        "inspections.db beside this file stores inspections, feedback, keys and jobs. DATABASE_URL (environment or .env) "
        "names a PostgreSQL database instead. Labelled images are training data and are never deleted.",
    )
    jobs: JobsConfig = setting(
        JobsConfig(), "Retrainings that run as jobs: from POST /retrain and the page Train."
    )
    monitoring: MonitoringConfig = setting(
        MonitoringConfig(),
        "When the line counts as drifted from the training images: docs/monitoring.md.",
    )
    scaling: ScalingConfig = setting(
        ScalingConfig(),
        "Training on several machines, with Ray (pip install 'defect-detection[scale]'): docs/scale.md.",
    )

    _root: Path = PrivateAttr(default=Path())
    _file: Path = PrivateAttr(default=Path())
    _overrides: tuple[str, ...] = PrivateAttr(default=())
    _plant_file: Path = PrivateAttr(default=Path())
    _product: str = PrivateAttr(default=DEFAULT)
    _tracking_uri: str = PrivateAttr(default="")
    _database_url: str = PrivateAttr(default="")

    @property
    def root(self) -> Path:
        return self._root

    @property
    def plant(self) -> Path:
        """The folder of the plant, which has what all products share; `root` for the default product."""
        return self._plant_file.parent

    @property
    def product(self) -> str:
        """The name of the product."""
        return self._product

    @property
    def option(self) -> str:
        """The option that a command needs for this product; empty for the default product."""
        return "" if self._product == DEFAULT else f" --product {self._product}"

    def named(self, name: str) -> str:
        """Return the name of an object of this product in a store that all products share."""
        return name if self._product == DEFAULT else f"{name}.{self._product}"

    @property
    def file(self) -> Path:
        """The YAML file, which need not exist."""
        return self._file

    @property
    def overrides(self) -> tuple[str, ...]:
        """The overrides of the file that count, the last of a key."""
        return self._overrides

    @property
    def for_children(self) -> dict[str, str]:
        """Environment variables that give another process the same settings: their file and overrides."""
        return self.for_children_with()

    def for_children_with(self, *overrides: str) -> dict[str, str]:
        """Return `for_children` with further overrides, which count before the others."""
        settings = {"config": str(self._plant_file), "overrides": [*self._overrides, *overrides]}
        return {SERVER_SETTINGS: json.dumps(settings | {"product": self._product})}

    @property
    def tracking_uri(self) -> str:
        """The MLflow store: ``MLFLOW_TRACKING_URI``, else a SQLite file in `root`."""
        return self._tracking_uri

    @property
    def database_url(self) -> str:
        """The database of records: ``DATABASE_URL``, else a SQLite file in `root`."""
        return self._database_url


def load_config(
    path: Path | None = None,
    overrides: Sequence[str] = (),
    product: str | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Read and check the settings of a product, with the current environment and the ``.env`` of its plant.

    Args:
        path: the YAML file of the plant, or of a product. When not given, or where it is ``config.yaml`` and the current folder has
            none, all settings have their defaults, in the current folder.
        overrides: ``dotted.key=value`` each, the value in YAML, as in ``training.epochs=5``.
        product: its name; when not given, the one whose file `path` is.
        environment: variables that count instead of those of the process and of ``.env``.

    Raises:
        ConfigError: the file can't be read, or a key or value is wrong. Names every problem, one a line.
    """
    path, overrides, product = _settled(path or DEFAULT_PATH, overrides, product)
    if product in (None, DEFAULT):
        config = _read_plant(path, overrides, environment)
    else:
        ours = [one for one in overrides if re.split("[.=]", one)[0].strip() in SHARED]
        plant = _read_plant(path, ours, environment)
        config = _read_product(plant, product, [one for one in overrides if one not in ours])
        config._overrides = tuple(overrides)
    finish(config.bundle_dir, config.best_model_info)  # a replacement that a killed training had prepared
    remove_leftovers(_written_to(config))
    return config


def _read_plant(
    path: Path,
    overrides: Sequence[str],
    environment: Mapping[str, str] | None,
    document: dict[str, Any] | None = None,
) -> Config:
    document = read_settings(path, DEFAULT_PATH) if document is None else document
    root = path.resolve().parent
    variables = read_environment(root) if environment is None else environment
    overridden = apply_overrides(document, overrides)
    fill_empty_sections(document, Config)
    if key := variables.get("DEFECT_API_KEY"):
        document["serving"]["api_key"] = key
    config = validate(Config, document, path, root=root, overridden=overridden)
    config._root, config._file, config._overrides = root, path.resolve(), tuple(overrides)
    config._plant_file = config._file
    config._tracking_uri = address_of(variables, "MLFLOW_TRACKING_URI", root, "mlflow.db")
    config._database_url = address_of(variables, "DATABASE_URL", root, "inspections.db")
    return config


def _read_product(plant: Config, product: str, overrides: Sequence[str]) -> Config:
    return product_settings(plant, product, settings_of(plant.root, product), overrides)


def check_document(config: Config, document: dict[str, Any]) -> None:
    """Check what the file of a product is about to hold.

    Raises:
        ConfigError: as for `load_config`.
    """
    if config.product == DEFAULT:
        _read_plant(config.file, (), None, document)
    else:
        product_settings(config, config.product, config.file, document=document)


def product_settings(
    plant: Config,
    product: str,
    file: Path,
    overrides: Sequence[str] = (),
    document: dict[str, Any] | None = None,
) -> Config:
    """Return the settings in a file as those of a product. What products share comes from the plant.

    Args:
        document: what the file is about to hold; what it holds when not given.

    Raises:
        ConfigError: as for `load_config`.
    """
    document = read_document(file) if document is None else document
    source = f"{FOLDER}/{product}/{file.name}"
    refuse_shared(document, source, plant.file)
    overridden = apply_overrides(document, overrides)
    fill_empty_sections(document, Config)
    own = validate(Config, document, Path(source), root=file.parent, overridden=overridden, source=source)
    own._product, own._root, own._file = product, file.parent, file
    names = {name: own.named(getattr(own.mlflow, name)) for name in MlflowConfig.model_fields}
    shared = {name: getattr(plant, name) for name in SHARED}
    config = own.model_copy(
        update={
            **shared,
            "mlflow": own.mlflow.model_copy(update=names),
            "inference_model_name": own.named(own.inference_model_name),
        }
    )
    config._plant_file = plant.file
    config._tracking_uri, config._database_url = plant.tracking_uri, plant.database_url
    refuse_paths_outside(document, config, source)
    return config


def _written_to(config: Config) -> list[Path]:
    """Return the folders that trainings, evaluations and inspections of a project write to."""
    cached = (Path(folder) for folder, _, _ in os.walk(config.cache_dir))
    return [
        config.root,
        config.bundle_dir.parent,
        config.best_model_info.parent,
        config.report_dir,
        *cached,
    ]


def _settled(
    path: Path, overrides: Sequence[str], product: str | None
) -> tuple[Path, Sequence[str], str | None]:
    """Return the plant's file, the overrides and the product that count: in a process that a server has started, the server's."""
    if given := os.environ.get(SERVER_SETTINGS):
        settings = json.loads(given)
        return Path(settings["config"]), [*overrides, *settings["overrides"]], settings.get("product")
    if product is None and (found := product_of(path)):
        return found[0], overrides, found[1]
    return path, overrides, product


def read_settings(path: Path, default: Path) -> dict[str, Any]:
    """Read the file; where the current folder has none under the usual name, all keys have their defaults."""
    is_missing = path.absolute() == default.absolute() and not os.path.lexists(path)
    return {} if is_missing else read_document(path)
