"""The table of settings, section by section; `config.yaml` documents each of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from defect_detection.config.kinds import (
    BelowOne,
    Count,
    DeclaredProxies,
    Expected,
    FilePath,
    ImageSize,
    InsideUnit,
    OptionalCount,
    OptionalFilePath,
    OptionalPositive,
    OptionalShare,
    Pattern,
    Positive,
    RootPath,
    SearchValues,
    Slug,
    Text,
    Weights,
    WholeNumber,
    check_space,
)


class Section(BaseModel):
    """Refuse unknown keys and later changes.

    removed: keys of earlier versions, each with what holds now. A value that turned them off (null or 0) is still accepted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
    removed: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _without_removed(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {key: value for key, value in values.items() if value or key not in cls.removed}


class MlflowConfig(Section):
    experiment_name: Text = "defect-detection"
    registered_model_name: Text = "Defect_CNN"
    production_model_name: Text = "Production_Reg"
    testing_model_name: Text = "Testing_Reg"


class DataConfig(Section):
    train_dir: FilePath = Path("data/train")
    test_dir: FilePath = Path("data/test")
    feedback_dir: OptionalFilePath = Path("data/feedback")
    challenge_dir: FilePath = Path("data/challenge")
    ok_classes: Annotated[tuple[str, ...], Field(min_length=1), Expected("a list of folder names")] = (
        "ok",
        "good",
        "class_0",
        "normal",
        "ok_front",
    )
    defect_classes: Annotated[tuple[str, ...], Expected("a list of folder names")] = ()
    image_size: ImageSize = 224
    validation_fraction: InsideUnit = 0.2
    group_pattern: Pattern = None
    on_unreadable: Annotated[Literal["skip", "refuse"], Expected("skip or refuse")] = "skip"
    allow_leakage: Annotated[bool, Field(strict=True), Expected("true or false")] = False
    allow_shortcuts: Annotated[bool, Field(strict=True), Expected("true or false")] = False
    max_pixels: Count = 25_000_000
    max_side: Count = 16_384
    pages: Annotated[Literal["refuse", "first", "all"], Expected("refuse, first or all")] = "refuse"
    bit_depth: Annotated[
        int | None, Field(ge=8, le=16, strict=True), Expected("null, or a whole number from 8 to 16")
    ] = None


class Schedule(Section):
    """How long and how fast to train: for all hyperparameter sets, or for one."""

    epochs: Count = 14
    patience: OptionalCount = 5
    batch_size: Count = 32
    learning_rate: Positive = 0.001
    label_smoothing: BelowOne = 0.05


class HyperparameterSet(Schedule):
    """One trial. What of its schedule isn't set comes from ``training``: see `TrainingConfig.resolved`."""

    removed = {"lights": "copies in other light changed no measured result; delete the key"}

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
    ] = (
        HyperparameterSet(name="frozen_compact"),
        HyperparameterSet(name="local_only", branches=("local",)),
        HyperparameterSet(name="pooled_only", branches=("pooled",)),
    )
    search: Annotated[SearchConfig | None, Expected("null or keys with values")] = None

    @field_validator("hyperparameter_sets")
    @classmethod
    def _unique_names(cls, sets: tuple[HyperparameterSet, ...]) -> tuple[HyperparameterSet, ...]:
        return with_unique_names(sets)

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


def with_unique_names(sets: tuple[HyperparameterSet, ...]) -> tuple[HyperparameterSet, ...]:
    names = [one.name for one in sets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"a different name for each set, {', '.join(twice)} is there more than once")
    return sets


_ONE_CONFIDENCE = "evaluation.confidence is that of all claims and intervals; set that one"


class CostsConfig(Section):
    escape: Positive
    overkill: Positive


class OperatingPointConfig(Section):
    removed = {
        "rule": "it follows from which of max_escape_rate, costs and threshold is set; delete the key",
        "confidence": _ONE_CONFIDENCE,
    }

    max_escape_rate: Annotated[
        float | None, Field(ge=0, lt=1), Expected("null or a number from 0 below 1")
    ] = None
    costs: Annotated[CostsConfig | None, Expected("null or {escape: number, overkill: number}")] = None
    threshold: OptionalShare = None

    @property
    def chosen_rule(self) -> Literal["balanced", "max_escape_rate", "costs", "fixed"]:
        """The rule of the key that has a value."""
        return next(
            (rule for rule, key in _KEY_OF_RULE.items() if getattr(self, key) is not None), "balanced"
        )

    @model_validator(mode="after")
    def _one_of_them(self) -> "OperatingPointConfig":
        given = [key for key in _KEY_OF_RULE.values() if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"one of {', '.join(given)}: each asks for another threshold")
        return self


_KEY_OF_RULE: dict[Literal["balanced", "max_escape_rate", "costs", "fixed"], str] = {
    "max_escape_rate": "max_escape_rate",
    "costs": "costs",
    "fixed": "threshold",
}


class ReviewConfig(Section):
    removed = {"confidence": _ONE_CONFIDENCE}

    max_escape_rate: BelowOne
    max_overkill_rate: BelowOne


class GateConfig(Section):
    guards: Annotated[
        tuple[Literal["escapes", "slices", "parity", "servable", "challenge", "gain"], ...],
        Expected("a list of escapes, slices, parity, servable, challenge and gain, or []"),
    ] = ("escapes", "slices", "parity", "servable", "challenge")
    margin: InsideUnit = 0.05
    level: InsideUnit = 0.05


class EvaluationConfig(Section):
    removed = {
        "review_fraction": "set review instead, such as {max_escape_rate: 0.01, max_overkill_rate: 0.02}"
    }

    operating_point: OperatingPointConfig = OperatingPointConfig()
    review: Annotated[
        ReviewConfig | None, Expected("null or {max_escape_rate: number, max_overkill_rate: number}")
    ] = None
    defect_rate: InsideUnit = 0.01
    bootstrap_repetitions: WholeNumber = 1000
    confidence: InsideUnit = 0.95
    gate: GateConfig = GateConfig()
    max_decisions_per_test_set: Count = 20


class InferenceConfig(Section):
    threads: OptionalCount = None
    precision: Annotated[Literal["f32", "bf16"], Expected("f32 or bf16")] = "f32"


class ServingConfig(Section):
    host: Text = "0.0.0.0"  # noqa: S104  every interface: what changes state asks remote callers for a key
    port: Annotated[int, Field(ge=1, le=65535, strict=True), Expected("a whole number from 1 to 65535")] = (
        5001
    )
    behind_proxy: DeclaredProxies = False
    root_path: RootPath = ""
    api_key: Annotated[
        SecretStr | None,
        Field(min_length=16),
        Expected("null or 16 characters or more, here or in DEFECT_API_KEY"),
    ] = None
    retrain_timeout_s: Positive = 7200
    refresh_s: Positive = 10
    drain_s: Positive = 20
    threads: Count = 8
    max_upload_bytes: Count = 32_000_000
    max_images: Count = 64
    receive_timeout_s: Positive = 30
    rate_limit: OptionalPositive = 100
    public: Annotated[
        tuple[Literal["metrics", "models", "statistics"], ...],
        Expected("a list of metrics, models and statistics, or []"),
    ] = ()


class RecordsConfig(Section):
    images_dir: FilePath = Path("inspections")
    keep_days: OptionalPositive = 365
    keep_gb: OptionalPositive = 50
    anonymous_gb_per_h: OptionalPositive = 10
    prune_every_h: Annotated[
        float,
        Field(gt=0, allow_inf_nan=False),
        Expected("hours above 0 (null for records.keep_days and records.keep_gb keeps everything)"),
    ] = 24


class JobsConfig(Section):
    run_in_server: Annotated[bool, Field(strict=True), Expected("true or false")] = True
    retrain_after_labels: OptionalCount = None
