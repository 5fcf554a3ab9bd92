"""Turn the held-out types of tiles into those of images, as inspection does, so that the rule of types is one of images."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from defect_detection.config.evaluation import EvaluationConfig
from defect_detection.data.samples import Sample
from defect_detection.evaluation.logits import expit, logit
from defect_detection.model.card import TileRule
from defect_detection.model.type_rule import types_of_tiles
from defect_detection.training.held_out_types import HeldOut, rule_of
from defect_detection.training.tiles import image_of
from defect_detection.training.type_branch import TypeFit

if TYPE_CHECKING:
    from defect_detection.training.trial import Trial


def types_of_images(
    inner: "Trial", samples: Sequence[Sample], tiles: TileRule, threshold: float, evaluation: EvaluationConfig
) -> TypeFit | None:
    """Return the branch of a trial on tiles, with the rule for images; None where it names no types.

    Args:
        samples: the images. threshold: of their scores.
    """
    if inner.types is None:
        return None
    held = _of_images(inner, inner.types.held_out, samples, tiles, threshold)
    return inner.types._replace(rule=rule_of(held, samples, evaluation), held_out=held)


def _of_images(
    inner: "Trial", held: HeldOut, samples: Sequence[Sample], tiles: TileRule, threshold: float
) -> HeldOut:
    judged = dict(zip(inner.judges.folds.scored.tolist(), range(len(inner.scores)), strict=True))
    places = [judged[tile] for tile in held.indices.tolist()]
    logits = logit(inner.scores)[places]
    defective = expit(tiles.logits(logits)) >= threshold
    rows: dict[str, list[int]] = defaultdict(list)
    for row, place in enumerate(places):
        rows[image_of(inner.validation[place])].append(row)
    own = {i: rows.pop(sample.sha256) for i, sample in enumerate(samples) if sample.sha256 in rows}
    found = [
        types_of_tiles(held.probabilities[some], logits[some], defective[some], held.several)
        for some in own.values()
    ]
    strongest = [some[tile] for some, (_, tile) in zip(own.values(), found, strict=True)]
    return held._replace(
        indices=np.array(list(own)),
        has=held.has[strongest],
        probabilities=np.stack([probabilities for probabilities, _ in found]),
        novelty=held.novelty[strongest],
    )
