"""Turn the held-out types of tiles into those of images, as inspection does, so that the rule of types is one of images."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from defect_detection.config.evaluation import EvaluationConfig
from defect_detection.data.samples import Sample
from defect_detection.model.card import TileRule, expit, log_odds
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
    judged, logits = inner.judges.folds.scored, log_odds(inner.scores)
    place = {int(tile): number for number, tile in enumerate(judged)}
    of_image: dict[str, list[int]] = defaultdict(list)
    for row, tile in enumerate(held.indices.tolist()):
        of_image[image_of(inner.validation[place[tile]])].append(row)
    indices, rows, first = [], [], []
    novelty = []
    for i, sample in enumerate(samples):
        own = of_image.pop(sample.sha256, [])
        if own:
            scores = logits[[place[int(tile)] for tile in held.indices[own]]]
            defective = expit(tiles.logits(scores)) >= threshold
            probabilities, strongest = types_of_tiles(
                held.probabilities[own], scores, defective, held.several
            )
            indices.append(i)
            rows.append(probabilities)
            first.append(own[0])
            novelty.append(held.novelty[own[strongest]])
    return HeldOut(
        held.names, held.several, np.array(indices), held.has[first], np.stack(rows), np.array(novelty)
    )
