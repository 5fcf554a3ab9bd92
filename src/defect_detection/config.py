"""Load ``config.yaml``: typed, with a default for nearly every key, and with errors that name the key.

The models below are the table of settings; ``config.yaml`` documents each of them. Overrides such as
``training.epochs=5`` win over the file, the file wins over the defaults. Secrets come from the environment.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import load_dotenv
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    field_validator,
    model_validator,
)

from defect_detection.config_file import apply_overrides, fill_empty_sections, read_document, validate
from defect_detection.config_types import (
    BelowOne,
    Count,
    Expected,
    FilePath,
    FileText,
    ImageSize,
    InsideUnit,
    ModelReference,
    OptionalCount,
    OptionalPositive,
    OptionalShare,
    Pattern,
    Positive,
    SearchValues,
    Share,
    Slug,
    Text,
    Weights,
    WholeNumber,
    check_space,
)


class Section(BaseModel):
    """Refuse unknown keys and later changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class MlflowConfig(Section):
    experiment_name: Text = "defect-detection"
    registered_model_name: Text = "Defect_CNN"
    production_model_name: Text = "Production_Reg"
    testing_model_name: Text = "Testing_Reg"


class DataConfig(Section):
    train_dir: FilePath = Path("data/train")
    test_dir: FilePath = Path("data/test")
    ok_classes: Annotated[tuple[str, ...], Field(min_length=1), Expected("a list of folder names")] = (
        "ok",
        "good",
        "class_0",
        "normal",
        "ok_front",
    )
    image_size: ImageSize = 224
    validation_fraction: InsideUnit = 0.2
    group_pattern: Pattern = None
    on_unreadable: Annotated[Literal["skip", "refuse"], Expected("skip or refuse")] = "skip"
    max_pixels: Count = 100_000_000


class Schedule(Section):
    """How long and how fast to train: for all hyperparameter sets, or for one."""

    epochs: Count = 20
    batch_size: Count = 32
    learning_rate: Positive = 0.001
    label_smoothing: BelowOne = 0.05


class HyperparameterSet(Schedule):
    """One trial. What of its schedule isn't set comes from ``training``: see `TrainingConfig.resolved`."""

    name: Slug
    trunk: Text = "compact"
    weights: Weights = "procedural"
    levels: Annotated[
        tuple[str, ...] | None, Field(min_length=1), Expected("null or a list of level names")
    ] = None
    trainable_from: Annotated[str | None, Expected("null or the name of a level")] = None
    fine_tune_epochs: Count = 4
    fine_tune_learning_rate: Positive = 0.0003
    hidden_units: Count = 64
    dropout: BelowOne = 0.3
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False), Expected("a number of 0 or more")] = 0.05
    pooled_regularization: Annotated[
        float | None, Field(gt=0, allow_inf_nan=False), Expected("null or a number above 0")
    ] = None
    pooled_components: OptionalCount = 384
    turns: Annotated[int, Field(ge=1, le=8, strict=True), Expected("a whole number from 1 to 8")] = 2
    branches: Annotated[
        tuple[Literal["pooled", "local"], ...],
        Field(min_length=1),
        Expected("a list of pooled, local or both"),
    ] = ("pooled", "local")


class SearchConfig(Section):
    """A search from one hyperparameter set on. `space`: by hyperparameter, a list of values or ``{low, high}``."""

    base: Slug
    trials: Count = 30
    timeout_s: OptionalPositive = None
    space: Annotated[
        dict[str, SearchValues],
        Field(min_length=1),
        AfterValidator(lambda space: check_space(space, HyperparameterSet, {"name"})),
        Expected("a mapping of hyperparameters to a list of values or {low, high}"),
    ]


class TrainingConfig(Schedule):
    cv_below: WholeNumber = 5000
    hyperparameter_sets: Annotated[
        tuple[HyperparameterSet, ...], Field(min_length=1), Expected("a list of at least one set")
    ]
    search: Annotated[SearchConfig | None, Expected("null or keys with values")] = None

    @field_validator("hyperparameter_sets")
    @classmethod
    def _unique_names(cls, sets: tuple[HyperparameterSet, ...]) -> tuple[HyperparameterSet, ...]:
        return _with_unique_names(sets)

    @model_validator(mode="after")
    def _base_of_the_search(self) -> "TrainingConfig":
        names = [one.name for one in self.hyperparameter_sets]
        if self.search and self.search.base not in names:
            raise ValueError(
                f"search.base to name one of the sets ({', '.join(names)}), not {self.search.base}"
            )
        return self

    def resolved(self, hyperparameters: HyperparameterSet) -> HyperparameterSet:
        """Return the set with what it doesn't set of its schedule taken from ``training``."""
        missing = Schedule.model_fields.keys() - hyperparameters.model_fields_set
        return hyperparameters.model_copy(update={name: getattr(self, name) for name in missing})


def _with_unique_names(sets: tuple[HyperparameterSet, ...]) -> tuple[HyperparameterSet, ...]:
    names = [one.name for one in sets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"a different name for each set, {', '.join(twice)} is there more than once")
    return sets


class OperatingPointConfig(Section):
    rule: Annotated[
        Literal["balanced", "max_escape_rate", "fixed"], Expected("balanced, max_escape_rate or fixed")
    ] = "balanced"
    max_escape_rate: Annotated[
        float | None, Field(ge=0, lt=1), Expected("null or a number from 0 below 1")
    ] = None
    threshold: OptionalShare = None

    @model_validator(mode="after")
    def _value_of_the_rule(self) -> "OperatingPointConfig":
        if self.rule == "max_escape_rate" and self.max_escape_rate is None:
            raise ValueError("a value for 'max_escape_rate', because rule is max_escape_rate")
        if self.rule == "fixed" and self.threshold is None:
            raise ValueError("a value for 'threshold', because rule is fixed")
        return self


class EvaluationConfig(Section):
    operating_point: OperatingPointConfig = OperatingPointConfig()
    review_fraction: BelowOne = 0.0
    defect_rate: InsideUnit = 0.01
    bootstrap_repetitions: WholeNumber = 1000
    confidence: InsideUnit = 0.95


class InferenceConfig(Section):
    threads: OptionalCount = None
    precision: Annotated[Literal["f32", "bf16"], Expected("f32 or bf16")] = "f32"


class ServingConfig(Section):
    host: Text = "0.0.0.0"  # noqa: S104  every interface: what changes state asks remote callers for a key
    port: Annotated[int, Field(ge=1, le=65535, strict=True), Expected("a whole number from 1 to 65535")] = (
        5001
    )
    api_key: Annotated[
        SecretStr | None,
        Field(min_length=16),
        Expected("null or 16 characters or more, here or in DEFECT_API_KEY"),
    ] = None
    retrain_timeout_s: Positive = 7200


class Config(Section):
    """All settings. `root` is the folder of the file: relative paths start there."""

    seed: WholeNumber = 42
    cache_dir: FilePath = Path("cache")
    cache_max_gb: OptionalPositive = 20
    report_dir: FilePath = Path("reports")
    bundle_dir: FilePath = Path("temp_best_model")
    best_model_info: FilePath = Path("best_model_info.txt")
    mlflow: MlflowConfig = MlflowConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig
    evaluation_threshold: Share = 0.80
    evaluation: EvaluationConfig = EvaluationConfig()
    inference_model_name: Text = "Production_Reg"
    inference_model_alias: Text = "prod"
    inference_images: Annotated[tuple[FileText, ...], Expected("a list of files, folders or patterns")] = (
        "data/test",
    )
    inference: InferenceConfig = InferenceConfig()
    serving: ServingConfig = ServingConfig()

    _root: Path = PrivateAttr(default=Path())

    @property
    def root(self) -> Path:
        return self._root

    @property
    def tracking_uri(self) -> str:
        """Where MLflow keeps runs and models: ``MLFLOW_TRACKING_URI``, else a SQLite file in `root`."""
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(self.root / 'mlflow.db').as_posix()}"


class RetrainConfig(Section):
    """Settings of one retraining, from ``re_train/re_train.yaml``."""

    config: FilePath = Path("../config.yaml")
    start_from: Annotated[Literal["registry", "scratch"], Expected("registry or scratch")] = "registry"
    base_models: Annotated[
        tuple[ModelReference, ...], Field(min_length=1), Expected("a list of name@alias")
    ] = ("Testing_Reg@re-train", "Production_Reg@prod")
    hyperparameter_sets: Annotated[
        tuple[HyperparameterSet, ...] | None,
        Field(min_length=1),
        Expected("null or a list of at least one set"),
    ] = None
    metric: Annotated[
        Literal["accuracy", "balanced_accuracy", "auroc"], Expected("accuracy, balanced_accuracy or auroc")
    ] = "accuracy"
    min_improvement: Share = 0.0
    set: Annotated[dict[str, Any], Expected("a mapping of dotted keys to values")] = Field(
        default_factory=dict
    )

    @field_validator("hyperparameter_sets")
    @classmethod
    def _unique_names(
        cls, sets: tuple[HyperparameterSet, ...] | None
    ) -> tuple[HyperparameterSet, ...] | None:
        return sets and _with_unique_names(sets)

    @property
    def overrides(self) -> list[str]:
        """`set` in the form that `load_config` takes."""
        return [f"{key}={json.dumps(value)}" for key, value in self.set.items()]


def load_config(path: Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read and check the settings, and load ``.env`` from the same folder into the environment.

    Args:
        path: the YAML file; ``config.yaml`` in the current folder when not given.
        overrides: ``dotted.key=value`` each, the value in YAML, as in ``training.epochs=5``.

    Raises:
        ConfigError: the file can't be read, or a key or value is wrong. Names every problem, one a line.
    """
    path = Path("config.yaml") if path is None else path
    document = read_document(path)
    root = path.resolve().parent
    load_dotenv(root / ".env")
    overridden = apply_overrides(document, overrides)
    fill_empty_sections(document, Config)
    if key := os.environ.get("DEFECT_API_KEY"):
        document["serving"]["api_key"] = key
    config = validate(Config, document, path, root=root, overridden=overridden)
    config._root = root
    return config


def load_retrain_config(path: Path) -> RetrainConfig:
    """Read and check the settings of a retraining.

    Raises:
        ConfigError: as for `load_config`.
    """
    return validate(RetrainConfig, read_document(path), path, root=path.resolve().parent)
