"""Count the test images that are unlike the training images. On the line, none of them gets the verdict ok."""

from collections.abc import Sequence

from defect_detection.config import Config
from defect_detection.data.audit.measure import measured
from defect_detection.data.samples import Sample
from defect_detection.model.card import Card
from defect_detection.use_cases.scoring import Scored, readable


def unlike_facts(candidate: Scored, samples: Sequence[Sample], config: Config) -> list[tuple[str, str]]:
    """Return a fact for the report: how many test images are unlike the training images; None for earlier models."""
    card = candidate.inspector.card
    if card.reference is None:
        return []
    unlike = _unlike(card, samples, config)
    sent = sum(
        card.verdict(score) == "ok" and reason is not None
        for score, reason in zip(candidate.scores.tolist(), unlike, strict=True)
    )
    count = len(unlike) - unlike.count(None)
    text = f"{count} of {len(unlike)} test images are unlike the training images"
    if count:
        text += (
            f"; {sent} of them would be ok and go to review instead. This report counts them by their score"
        )
    return [("Unlike the training images", text)]


def _unlike(card: Card, samples: Sequence[Sample], config: Config) -> list[str | None]:
    store = readable(samples, (card.image_size,) * 2, card.bit_depth, config)
    rows = measured(samples, store, config.cache_dir)
    assert card.reference is not None
    return [card.reference.reason(row["look"], (int(row["width"]), int(row["height"]))) for row in rows]
