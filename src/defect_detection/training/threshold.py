"""Choose the operating point and the review band of the settings on validation scores."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from defect_detection.config.evaluation import EvaluationConfig
from defect_detection.data.outlying import MOST_ODD, unlike_the_others
from defect_detection.data.parts import parts_of
from defect_detection.data.samples import OK, Sample, labels_of
from defect_detection.evaluation.claims import PartScores, RateClaim
from defect_detection.evaluation.logits import logit
from defect_detection.evaluation.operating_point import (
    Costs,
    OperatingPoint,
    ReviewBand,
    choose_threshold,
    usual_limit,
)
from defect_detection.evaluation.parts import numbered
from defect_detection.evaluation.review_band import ReviewLimits, bound_review_band, review_edges

_AS_OK_IMAGES = (
    "threshold of the OK images alone, because a few defective images do not show the least visible defects"
)


def decide(
    scores: np.ndarray,
    samples: Sequence[Sample],
    settings: EvaluationConfig,
    split: str = "validation",
    learned: bool = False,
    novelty_share: float = 0.0,
) -> tuple[OperatingPoint, ReviewBand]:
    """Choose the threshold and the review band.

    Args:
        scores: float array of shape (n_images,), P(defective), each from a fit that held its image out.
        split: how these images are called in texts.
        learned: the trunk has learned these images, so they show no claim.
        novelty_share: how much novelty counts in the scores. If it counts alone, OK images alone set the threshold, by
            `max_overkill_rate` unless it is fixed, and those that may be defective (`odd_ok`) do not raise it. If it counts beside a
            classifier, there are few defective images, which say little of the least visible defects. So a balanced threshold is at
            most the one that OK images alone would set.
    """
    labels = labels_of(samples)
    parts = parts_of(samples)
    alone = novelty_share == 1
    limits = None if alone else _limits(settings)
    point = settings.operating_point
    choose = partial(
        choose_threshold,
        scores,
        labels,
        max_escape_rate=point.max_escape_rate,
        max_overkill_rate=point.max_overkill_rate,
        threshold=point.threshold,
        costs=Costs(**point.costs.model_dump()) if point.costs else None,
        defect_rate=settings.defect_rate,
        confidence=settings.confidence,
        parts=parts,
        split=split,
        odd=odd_ok(logit(scores), samples) if novelty_share else None,
    )
    if alone and point.threshold is None:
        chosen = choose("max_overkill_rate")
    else:
        low, high = _meeting_both(scores, labels, limits, parts)
        chosen = choose(point.chosen_rule, within=(low, high))
        if novelty_share and point.chosen_rule == "balanced":
            usual = max(choose("max_overkill_rate").threshold, low)
            if usual < chosen.threshold:
                chosen = choose("fixed", threshold=usual).model_copy(
                    update={"rule": "balanced", "reason": _AS_OK_IMAGES}
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
    novelty: np.ndarray, samples: Sequence[Sample], settings: EvaluationConfig, novelty_share: float = 0.0
) -> float:
    """Return the novelty beyond which an image is unlike anything seen in training.

    Args:
        novelty: float array of shape (n_images,), each from a fit that held its image out.
        samples: the images; defective ones do not count.
        novelty_share: as in `decide`.
    """
    labels, parts = labels_of(samples), parts_of(samples)
    counting = ~odd_ok(novelty, samples) if novelty_share == 1 else np.ones(len(labels), bool)
    usual = PartScores.of("overkill", novelty, labels, parts, counting)
    return usual_limit(usual.scores, settings.max_unknown_rate, settings.confidence)


def odd_ok(novelty: np.ndarray, samples: Sequence[Sample]) -> np.ndarray:
    """Mark the images of OK parts that are far more novel than the others, a tenth of the parts at most, bool (n_images,).

    They may be defective, and one of them would put the threshold above all defects that are like it.

    Args:
        novelty: of all images, in standard deviations of held-out OK images, up to a constant.
    """
    ok = labels_of(samples) == OK
    names, part = np.unique(numbered(parts_of(samples), len(samples))[ok], return_inverse=True)
    highest = np.full(len(names), -np.inf)
    np.maximum.at(highest, part, novelty[ok])
    rank = np.argsort(np.argsort(-highest, kind="stable"))
    odd = np.zeros(len(ok), bool)
    odd[ok] = (unlike_the_others(highest) & (rank < int(MOST_ODD * len(names))))[part]
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
    """Return the range of thresholds that need no review band; all thresholds if there are none."""
    if limits is None:
        return 0.0, 1.0
    low, high = review_edges(scores, labels, limits, parts)
    return (high, low) if high <= low else (0.0, 1.0)
