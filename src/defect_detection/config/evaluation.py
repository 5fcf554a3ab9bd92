"""Settings of evaluation: threshold, review band, gate."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from defect_detection.config.base import Section, setting
from defect_detection.config.kinds import (
    BelowOne,
    Count,
    Expected,
    InsideUnit,
    OptionalShare,
    Positive,
    WholeNumber,
    YesNo,
)

_ONE_CONFIDENCE = "set evaluation.confidence instead, which applies to all claims and intervals"


class CostsConfig(Section):
    escape: Positive = setting(..., "cost of one escape.")
    overkill: Positive = setting(..., "cost of one rejected OK part, in the same unit.")


class OperatingPointConfig(Section):
    removed: ClassVar[Mapping[str, str]] = {
        "rule": "the rule now follows from max_escape_rate, costs or threshold. Delete the key",
        "confidence": _ONE_CONFIDENCE,
    }

    max_escape_rate: Annotated[float | None, Field(ge=0, lt=1), Expected("null or a number, 0 <= x < 1")] = (
        setting(
            None,
            "highest escape rate: missed / all defectives. Training takes the threshold with the least overkill for which the "
            "validation images show this limit. If there are too few images to show it, training takes the highest threshold without "
            "an escape; training and report say so.",
        )
    )
    costs: Annotated[CostsConfig | None, Expected("null or {escape: number, overkill: number}")] = setting(
        None,
        "cost of one escape and of one rejected OK part, such as {escape: 10, overkill: 1}. Training takes the threshold with the "
        "lowest expected cost per part at evaluation.defect_rate.",
    )
    threshold: OptionalShare = setting(None, "the decision threshold itself.")
    max_overkill_rate: InsideUnit = setting(
        0.01,
        "highest overkill rate: rejected OK / all OK parts. It sets the threshold of a model that learns from OK images alone. "
        "With few defective images, the balanced threshold is at most that threshold. If no test image is defective, the limit "
        "also decides whether the first model is promoted.",
    )

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
            raise ValueError(
                f"at most one of {', '.join(_KEY_OF_RULE.values())}, received {' and '.join(given)}; keep one of them"
            )
        return self


_KEY_OF_RULE: dict[Literal["balanced", "max_escape_rate", "costs", "fixed"], str] = {
    "max_escape_rate": "max_escape_rate",
    "costs": "costs",
    "fixed": "threshold",
}


class ReviewConfig(Section):
    removed: ClassVar[Mapping[str, str]] = {"confidence": _ONE_CONFIDENCE}

    max_escape_rate: BelowOne = setting(..., "escapes among parts that pass without a person.")
    max_overkill_rate: BelowOne = setting(..., "overkill among parts that are rejected without a person.")


class GateConfig(Section):
    guards: Annotated[
        tuple[Literal["escapes", "slices", "parity", "servable", "challenge", "gain", "types"], ...],
        Expected("a list of escapes, slices, parity, servable, challenge, gain and types, or []"),
    ] = setting(
        ("escapes", "slices", "parity", "servable", "challenge"),
        "escapes: a non-inferiority test of the escape rate, with margin and level. slices: no defect type gets "
        "significantly worse. parity: deployed forms give the same verdicts. servable: a fresh process can load the model. "
        "challenge: all images of data.challenge_dir are caught. gain: the higher accuracy is significant. "
        "types: no defect type is named significantly worse than by the model in production.",
    )
    margin: InsideUnit = setting(
        0.05,
        "margin of the escape rate. If no verdict differs, 0.05 needs 59 defective test images, and 0.02 needs 149.",
    )
    level: InsideUnit = setting(
        0.05,
        "significance level: the highest probability of promoting a model whose escape rate is higher by margin or more.",
        advanced=True,
    )
    promote_at_once: YesNo = setting(
        True,
        "true: a retraining promotes a model that passes. false: the model waits until a person promotes it (page Train, or "
        "`defect promote --gated`). A model that was trained from the page Train always waits.",
        advanced=True,
    )


class EvaluationConfig(Section):
    removed: ClassVar[Mapping[str, str]] = {
        "review_fraction": "set review instead, such as {max_escape_rate: 0.01, max_overkill_rate: 0.02}"
    }

    operating_point: OperatingPointConfig = setting(
        OperatingPointConfig(),
        "the decision threshold: an image is defective when score >= threshold. It is chosen on validation images, see "
        "docs/operating-point.md. Set at most one of max_escape_rate, costs and threshold. With none of them, the "
        "threshold has the lowest sum of escape rate and overkill rate.",
    )
    review: Annotated[
        ReviewConfig | None, Expected("null or {max_escape_rate: number, max_overkill_rate: number}")
    ] = setting(
        None,
        "limits for the parts that are decided without a person, such as {max_escape_rate: 0.01, max_overkill_rate: 0.02}. "
        "All other parts get the verdict review.",
    )
    defect_rate: InsideUnit = setting(
        0.01, "share of defective parts on the line. Figures per 10,000 parts use it."
    )
    max_unknown_rate: InsideUnit = setting(
        0.005,
        "share of held-out OK images whose novelty may exceed the limit. An image above the limit is never ok: its verdict is review, "
        "unless it is defective.",
        advanced=True,
    )
    min_defect_px: WholeNumber = setting(
        0,
        "smallest area of evidence, in pixels of the original image, that gets a box. Smaller areas are only counted. The verdict "
        "stays the same.",
        advanced=True,
    )
    confidence: InsideUnit = setting(
        0.95,
        "confidence level of all intervals, and of the claims of max_escape_rate and review.",
    )
    gate: GateConfig = setting(
        GateConfig(),
        "checks for promotion, in addition to evaluation_threshold and a higher accuracy; see docs/gate.md.",
    )
    bootstrap_repetitions: WholeNumber = setting(
        1000, "resamples for the interval of AUROC; 0: no interval.", advanced=True
    )
    max_decisions_per_test_set: Count = setting(
        20, "from this decision on, the report warns of test-set reuse.", advanced=True
    )
