"""Choose the rule that names types, by the answers on defective images that each fit held out."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from defect_detection.config.evaluation import EvaluationConfig
from defect_detection.data.parts import parts_of
from defect_detection.data.samples import Sample
from defect_detection.evaluation.operating_point import usual_limit
from defect_detection.evaluation.parts import numbered, rate_of
from defect_detection.model.type_rule import UNKNOWN, TypeRule

MOST_WRONG = 0.1  # share of the held-out answers that may be wrong
_SURE = 0.9  # probability that always suffices for an answer


class HeldOut(NamedTuple):
    """What the branch says of defective images of known type that each fit held out.

    indices: of all samples. has: bool (n, K). probabilities: (n, K). novelty: (n,); NaN where unknown.
    """

    names: tuple[str, ...]
    several: bool
    indices: np.ndarray
    has: np.ndarray
    probabilities: np.ndarray
    novelty: np.ndarray


def rule_of(held: HeldOut, samples: Sequence[Sample], evaluation: EvaluationConfig) -> TypeRule:
    """Choose the least probabilities, and count what the rule gives on held-out images. samples: all that `held` has indices of."""
    least = (_least_of_each if held.several else _least_of_one)(held.probabilities, held.has)
    known = held.novelty[~np.isnan(held.novelty)]
    limit = usual_limit(known, evaluation.max_unknown_rate, evaluation.confidence) if len(known) else None
    empty = rate_of(np.zeros(0, bool), np.zeros(0, int), evaluation.confidence)
    rule = TypeRule(
        names=held.names,
        several=held.several,
        least=tuple(least),
        novelty_limit=limit,
        right=empty,
        unknown=empty,
    )
    measured = [None if np.isnan(one) else float(one) for one in held.novelty]
    answers = [
        {one.name for one in rule.named(row, own)}
        for row, own in zip(held.probabilities, measured, strict=True)
    ]
    truth = [set(np.array(held.names)[row]) for row in held.has]
    unknown = np.array([answer == {UNKNOWN} for answer in answers])
    right = np.array([answer == true for answer, true in zip(answers, truth, strict=True)])
    parts = numbered(parts_of([samples[i] for i in held.indices]), len(held.indices))
    update = {
        "right": rate_of(right[~unknown], parts[~unknown], evaluation.confidence),
        "unknown": rate_of(unknown, parts, evaluation.confidence),
    }
    return rule.model_copy(update=update)


def _least_of_one(probabilities: np.ndarray, has: np.ndarray) -> list[float]:
    """Return the least probability above which at most `MOST_WRONG` of the held-out answers are wrong; at most `_SURE`."""
    best, right = probabilities.max(1), has[np.arange(len(has)), probabilities.argmax(1)]
    order = np.argsort(-best)
    wrong = np.cumsum(~right[order]) / np.arange(1, len(order) + 1)
    allowed = np.flatnonzero(wrong <= MOST_WRONG)
    found = float(best[order[allowed[-1]]]) if len(allowed) else _SURE
    return [min(found, _SURE)] * has.shape[1]


def _least_of_each(probabilities: np.ndarray, has: np.ndarray) -> list[float]:
    """Return of each type the probability with the highest F1 on held-out images."""
    least = []
    for values, own in zip(probabilities.T, has.T, strict=True):
        order = np.argsort(-values)
        hits = np.cumsum(own[order])
        f1 = 2 * hits / (np.arange(1, len(order) + 1) + max(int(own.sum()), 1))
        least.append(float(values[order[int(f1.argmax())]]))
    return least
