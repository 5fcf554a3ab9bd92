"""Draw defects on held-out OK images, and count how many a model catches."""

from collections.abc import Sequence

import numpy as np

from defect_detection.config import Config
from defect_detection.data.parts import parts_of
from defect_detection.data.samples import OK, Sample
from defect_detection.evaluation.parts import numbered
from defect_detection.evaluation.rates import Rate
from defect_detection.model.card import Card
from defect_detection.report.unseen import DrawnDefects, drawn_defects
from defect_detection.synthetic.defects import DEFECTS
from defect_detection.training.drawn import with_defect_of
from defect_detection.use_cases.scoring import Scored, readable

_OF_EACH = 8  # defects of a kind: 120 of the 15 kinds


def try_drawn_defects(candidate: Scored, samples: Sequence[Sample], config: Config) -> DrawnDefects | None:
    """Return how many drawn defects the verdict of a model catches; None without an OK image, and for a model with tiles.

    Args:
        samples: the test images that the candidate was scored on.
    """
    if candidate.inspector.card.frame.tiles:  # a defect is drawn for an image in the size of the input
        return None
    part = numbered(parts_of(samples), len(samples))
    ok = _one_of_each_part(samples, part)
    if not len(ok):
        return None
    bases = ok[np.linspace(0, len(ok) - 1, _OF_EACH * len(DEFECTS)).round().astype(int)]
    images, kinds, chosen = _drawn(candidate, samples, bases, config)
    if not len(images):
        return None
    card, answer = candidate.inspector.card, candidate.inspector.score(images)
    used = np.unique(chosen)
    novelty = None if candidate.novelty is None else candidate.novelty[used]
    flagged = _flagged(card, candidate.scores[used], novelty)
    confidence = config.evaluation.confidence
    without = Rate.of(int(flagged.sum()), len(flagged), confidence)
    caught = _flagged(card, answer["score"], answer.get("novelty"))
    return drawn_defects(caught, kinds, part[chosen], without, confidence)


def _one_of_each_part(samples: Sequence[Sample], part: np.ndarray) -> np.ndarray:
    """Return the index of the first OK image of each part."""
    ok = np.array([i for i, sample in enumerate(samples) if sample.label == OK], int)
    return np.sort(ok[np.unique(part[ok], return_index=True)[1]])


def _drawn(
    candidate: Scored, samples: Sequence[Sample], bases: np.ndarray, config: Config
) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Return images with one drawn defect each, its kind, and the original image's index. A kind that does not show is left out."""
    card, rng = candidate.inspector.card, np.random.default_rng(config.seed)
    store = readable([samples[i] for i in bases], card, config)
    below = store.rows([samples[i].sha256 for i in bases])
    found = []
    for number, (i, image) in enumerate(zip(bases.tolist(), below, strict=True)):
        kind = DEFECTS[number % len(DEFECTS)]
        if (changed := with_defect_of(kind, image, rng, card.frame.seen)) is not None:
            found.append((changed, kind.__name__, i))
    images, kinds, chosen = zip(*found, strict=True) if found else ((), (), ())
    return np.array(images), list(kinds), np.array(chosen, int)


def _flagged(card: Card, scores: np.ndarray, novelty: np.ndarray | None) -> np.ndarray:
    """Mark the images whose verdict is not ok, bool (n,)."""
    unknown = [None] * len(scores) if novelty is None else novelty.tolist()
    seen = zip(scores.tolist(), unknown, strict=True)
    return np.array([card.verdict(score, card.unseen(one, score)) != "ok" for score, one in seen], bool)
