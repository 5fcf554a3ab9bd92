"""Settings of one retraining: ``re_train/re_train.yaml``."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from defect_detection.config.base import Section, setting
from defect_detection.config.kinds import Expected, FilePath, ModelReference, Share, WholeNumber
from defect_detection.config.load import read_settings
from defect_detection.config.training import HyperparameterSet, with_unique_names
from defect_detection.config.yaml_file import validate

StartFrom = Literal["registry", "scratch"]
DEFAULT_RETRAIN_PATH = Path("re_train/re_train.yaml")


class RetrainConfig(Section):
    """Settings of one retraining, from ``re_train/re_train.yaml``."""

    config: FilePath = setting(Path("../config.yaml"), "settings of data, training and evaluation.")
    start_from: Annotated[StartFrom, Expected("registry or scratch")] = setting(
        "registry",
        "registry: continue from a registered model (base_models). scratch: train as `defect train` does.",
    )
    base_models: Annotated[
        tuple[ModelReference, ...], Field(min_length=1), Expected("a list of name@alias")
    ] = setting(
        ("Testing_Reg@re-train", "Production_Reg@prod"),
        "the first model of this list that exists is the base model.",
    )
    hyperparameter_sets: Annotated[
        tuple[HyperparameterSet, ...] | None,
        Field(min_length=1),
        Expected("null or a list of at least one set"),
    ] = setting(
        None,
        "hyperparameter sets to train, in order of preference, with the keys that config.yaml explains. null: with registry, the "
        "set of the base model; with scratch, those of config.yaml.",
    )
    metric: Annotated[
        Literal["accuracy", "balanced_accuracy", "auroc"], Expected("accuracy, balanced_accuracy or auroc")
    ] = setting(
        "accuracy",
        "the new model must be better on the test images by this metric. On validation images, a model is held only if it is "
        "significantly worse.",
    )
    min_improvement: Share = setting(0.0, "the new model must be better by more than this.")
    min_new_labels: WholeNumber = setting(
        0,
        "retrain only if people gave at least this many labels since the model in production was trained; 0: always. It needs "
        "data.feedback_dir in config.yaml: each retraining first exports the labelled images to this folder.",
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


def load_retrain_config(path: Path) -> RetrainConfig:
    """Read and check the settings of a retraining.

    Raises:
        ConfigError: as for `load_config`.
    """
    return validate(
        RetrainConfig, read_settings(path, DEFAULT_RETRAIN_PATH), path, root=path.resolve().parent
    )
