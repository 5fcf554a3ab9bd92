"""Load ``config.yaml``: typed, with a default for nearly every key, and with errors that name the key.

`sections` is the table of settings; ``config.yaml`` documents each of them. Overrides such as
``training.epochs=5`` win over the file, the file wins over the defaults. Secrets come from the environment.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PrivateAttr,
    field_validator,
)

from defect_detection.config.base import Section, setting
from defect_detection.config.evaluation import EvaluationConfig
from defect_detection.config.kinds import (
    Expected,
    FilePath,
    FileText,
    ModelReference,
    OptionalPositive,
    Share,
    Text,
    WholeNumber,
)
from defect_detection.config.sections import (
    DataConfig,
    InferenceConfig,
    JobsConfig,
    MlflowConfig,
    RecordsConfig,
    ScalingConfig,
    ServingConfig,
)
from defect_detection.config.training import HyperparameterSet, TrainingConfig, with_unique_names
from defect_detection.config.yaml_file import apply_overrides, fill_empty_sections, read_document, validate
from defect_detection.environment import address_of, read_environment
from defect_detection.files.switch import finish
from defect_detection.files.unfinished import remove_leftovers

DEFAULT_PATH = Path("config.yaml")
DEFAULT_RETRAIN_PATH = Path("re_train/re_train.yaml")
SERVER_SETTINGS = "DEFECT_SERVER_SETTINGS"  # environment variable for processes started by a server


class Config(Section):
    """All settings. `root` is the folder of the file: relative paths start there."""

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
        "accuracy on the test images. A model that reaches it is registered as mlflow.production_model_name, otherwise as "
        "mlflow.testing_model_name.",
    )
    inference_model_name: Text = setting("Production_Reg", "registered model used by inference.")
    inference_model_alias: Text = setting("prod", "alias of the version.")
    inference_images: Annotated[tuple[FileText, ...], Expected("a list of files, folders or patterns")] = (
        setting(("data/test",), "images on the command line replace it.")
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
        JobsConfig(), "Retrainings in the background: POST /retrain with 'Prefer: respond-async'."
    )
    scaling: ScalingConfig = setting(
        ScalingConfig(),
        "Training on several machines, with Ray (pip install 'defect-detection[scale]'): docs/scale.md.",
    )

    _root: Path = PrivateAttr(default=Path())
    _file: Path = PrivateAttr(default=Path())
    _overrides: tuple[str, ...] = PrivateAttr(default=())
    _tracking_uri: str = PrivateAttr(default="")
    _database_url: str = PrivateAttr(default="")

    @property
    def root(self) -> Path:
        return self._root

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
        return {SERVER_SETTINGS: json.dumps({"config": str(self._file), "overrides": self._overrides})}

    @property
    def tracking_uri(self) -> str:
        """The MLflow store: ``MLFLOW_TRACKING_URI``, else a SQLite file in `root`."""
        return self._tracking_uri

    @property
    def database_url(self) -> str:
        """The database of records: ``DATABASE_URL``, else a SQLite file in `root`."""
        return self._database_url


class RetrainConfig(Section):
    """Settings of one retraining, from ``re_train/re_train.yaml``."""

    config: FilePath = setting(Path("../config.yaml"), "settings of data, training and evaluation.")
    start_from: Annotated[Literal["registry", "scratch"], Expected("registry or scratch")] = setting(
        "registry",
        "registry: go on from a registered model (base_models). scratch: train as `defect train` does.",
    )
    base_models: Annotated[
        tuple[ModelReference, ...], Field(min_length=1), Expected("a list of name@alias")
    ] = setting(("Testing_Reg@re-train", "Production_Reg@prod"), "the first that exists is the base model.")
    hyperparameter_sets: Annotated[
        tuple[HyperparameterSet, ...] | None,
        Field(min_length=1),
        Expected("null or a list of at least one set"),
    ] = setting(
        None,
        "with the keys that config.yaml explains, in the order of trust. null: with registry the settings of the base model, with "
        "scratch those of config.yaml.",
    )
    metric: Annotated[
        Literal["accuracy", "balanced_accuracy", "auroc"], Expected("accuracy, balanced_accuracy or auroc")
    ] = setting(
        "accuracy",
        "the new model must be better on the test images by this metric. On validation only a significantly worse model is held.",
    )
    min_improvement: Share = setting(0.0, "the new model must be better by more than this.")
    min_new_labels: WholeNumber = setting(
        0,
        "retrain only when people gave so many labels since the model in production was made; 0: always. It needs data.feedback_dir "
        "in config.yaml, where each retraining first exports what was said.",
    )
    set: Annotated[dict[str, Any], Expected("a mapping of dotted keys to values")] = setting(
        {}, "other values of config.yaml, for this retraining only. Example: {training.epochs: 5}."
    )

    @field_validator("hyperparameter_sets")
    @classmethod
    def _unique_names(
        cls, sets: tuple[HyperparameterSet, ...] | None
    ) -> tuple[HyperparameterSet, ...] | None:
        return sets and with_unique_names(sets)

    @property
    def overrides(self) -> list[str]:
        """`set` in the form that `load_config` takes."""
        return [f"{key}={json.dumps(value)}" for key, value in self.set.items()]


def load_config(
    path: Path | None = None,
    overrides: Sequence[str] = (),
    *,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Read and check the settings, with the current environment and the ``.env`` in the same folder.

    Args:
        path: the YAML file. When not given, or where it is ``config.yaml`` and the current folder has none, all settings
            have their defaults, in the current folder.
        overrides: ``dotted.key=value`` each, the value in YAML, as in ``training.epochs=5``.
        environment: variables that count instead of those of the process and of ``.env``.

    Raises:
        ConfigError: the file can't be read, or a key or value is wrong. Names every problem, one a line.
    """
    path, overrides = _settled(DEFAULT_PATH if path is None else path, overrides)
    document = _read(path, DEFAULT_PATH)
    root = path.resolve().parent
    variables = read_environment(root) if environment is None else environment
    overridden = apply_overrides(document, overrides)
    fill_empty_sections(document, Config)
    if key := variables.get("DEFECT_API_KEY"):
        document["serving"]["api_key"] = key
    config = validate(Config, document, path, root=root, overridden=overridden)
    config._root, config._file, config._overrides = root, path.resolve(), tuple(overrides)
    config._tracking_uri = address_of(variables, "MLFLOW_TRACKING_URI", root, "mlflow.db")
    config._database_url = address_of(variables, "DATABASE_URL", root, "inspections.db")
    finish(config.bundle_dir, config.best_model_info)  # a replacement that a killed training had prepared
    remove_leftovers(_written_to(config))
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


def _settled(path: Path, overrides: Sequence[str]) -> tuple[Path, Sequence[str]]:
    """Return the file and the overrides that count: in a process that a server has started, the server's own win."""
    given = os.environ.get(SERVER_SETTINGS)
    if not given:
        return path, overrides
    settings = json.loads(given)
    return Path(settings["config"]), [*overrides, *settings["overrides"]]


def load_retrain_config(path: Path) -> RetrainConfig:
    """Read and check the settings of a retraining.

    Raises:
        ConfigError: as for `load_config`.
    """
    return validate(RetrainConfig, _read(path, DEFAULT_RETRAIN_PATH), path, root=path.resolve().parent)


def _read(path: Path, default: Path) -> dict[str, Any]:
    """Read the file; where the current folder has none under the usual name, all keys have their defaults."""
    is_missing = path.absolute() == default.absolute() and not os.path.lexists(path)
    return {} if is_missing else read_document(path)
