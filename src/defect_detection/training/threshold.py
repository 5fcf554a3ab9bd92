"""Choose the operating point and the review band of the settings on validation scores."""

from collections.abc import Sequence

import numpy as np

from defect_detection.config.evaluation import EvaluationConfig
from defect_detection.data.outlying import unlike_the_others
from defect_detection.data.samples import OK, Sample, labels_of
from defect_detection.data.units import parts_of
from defect_detection.evaluation.claims import RateClaim, Units
from defect_detection.evaluation.logits import logit
from defect_detection.evaluation.operating_point import (
    Costs,
    OperatingPoint,
    ReviewBand,
    choose_threshold,
    usual_limit,
)
from defect_detection.evaluation.review_band import ReviewLimits, bound_review_band, review_edges

_MOST_ODD = 0.1  # of the OK images


def decide(
    scores: np.ndarray,
    samples: Sequence[Sample],
    settings: EvaluationConfig,
    split: str = "validation",
    learned: bool = False,
    one_class: bool = False,
) -> tuple[OperatingPoint, ReviewBand]:
    """Choose the threshold and the review band.

    Args:
        scores: float array of shape (n_images,), P(defective), each from a fit that held its image out.
        split: how these images are called in texts.
        learned: the trunk has learned these images, so they show no claim.
        one_class: the model learned from OK images alone: they alone set the threshold, by `max_overkill_rate` unless it is fixed,
            and those that may be defective (`odd_ok`) do not raise it.
    """
    labels = labels_of(samples)
    parts = parts_of(samples)
    limits = None if one_class else _limits(settings)
    point = settings.operating_point
    rule = "max_overkill_rate" if one_class and point.threshold is None else point.chosen_rule
    odd = odd_ok(logit(scores), labels) if one_class else None
    chosen = choose_threshold(
        scores,
        labels,
        rule,
        max_escape_rate=point.max_escape_rate,
        max_overkill_rate=point.max_overkill_rate,
        threshold=point.threshold,
        costs=Costs(**point.costs.model_dump()) if point.costs else None,
        defect_rate=settings.defect_rate,
        confidence=settings.confidence,
        parts=parts,
        split=split,
        within=_meeting_both(scores, labels, limits, parts),
        odd=odd,
    )
    if limits is None:
        band = ReviewBand(low=chosen.threshold, high=chosen.threshold)
    else:
        band = bound_review_band(scores, labels, chosen.threshold, limits, parts, split)
    if learned:
        chosen = chosen.model_copy(update={"claims": _unsound(chosen.claims)})
        band = band.model_copy(update={"claims": _unsound(band.claims)})
    return chosen, band


def novelty_limit(
    novelty: np.ndarray, samples: Sequence[Sample], settings: EvaluationConfig, one_class: bool = False
) -> float:
    """Return the novelty beyond which an image is unlike anything seen in training.

    Args:
        novelty: float array of shape (n_images,), each from a fit that held its image out.
        samples: the images; defective ones do not count.
        one_class: as in `decide`.
    """
    labels, parts = labels_of(samples), parts_of(samples)
    counting = ~odd_ok(novelty, labels) if one_class else np.ones(len(labels), bool)
    units = Units.of("overkill", novelty, labels, parts, counting)
    return usual_limit(units.scores, settings.max_unknown_rate, settings.confidence)


def odd_ok(novelty: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mark OK images that are far more novel than the others, a tenth at most, bool (n_images,).

    They may be defective, and one of them would put the threshold above all defects that are like it.

    Args:
        novelty: of all images, in standard deviations of held-out OK images, up to a constant.
    """
    ok = labels == OK
    odd = np.zeros(len(labels), bool)
    most = np.quantile(novelty[ok], 1 - _MOST_ODD, method="higher")
    odd[ok] = unlike_the_others(novelty[ok]) & (novelty[ok] > most)
    return odd


def _unsound(claims: Sequence[RateClaim]) -> tuple[RateClaim, ...]:
    return tuple(claim.unsound for claim in claims)


def _limits(settings: EvaluationConfig) -> ReviewLimits | None:
    review = settings.review
    if review is None:
        return None
    return ReviewLimits(
        max_escape_rate=review.max_escape_rate,
        max_overkill_rate=review.max_overkill_rate,
        confidence=settings.confidence,
    )


def _meeting_both(
    scores: np.ndarray, labels: np.ndarray, limits: ReviewLimits | None, parts: Sequence[str]
) -> tuple[float, float]:
    """Return between which thresholds nobody needs to be asked; all of them when there are no such."""
    if limits is None:
        return 0.0, 1.0
    low, high = review_edges(scores, labels, limits, parts)
    return (high, low) if high <= low else (0.0, 1.0)
