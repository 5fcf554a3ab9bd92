"""Handle leakage in evaluation: refuse test images from the training, or mention them in every report."""

from collections.abc import Sequence

from defect_detection.data.samples import Sample
from defect_detection.errors import LeakageError
from defect_detection.model.bundle import seen_in_training
from defect_detection.text import printable
from defect_detection.use_cases.scoring import Scored


def leakage_notes(candidate: Scored, samples: Sequence[Sample], allowed: bool) -> list[str]:
    """Return the remarks of a report about leakage and shortcuts, one sentence each.

    Args:
        allowed: ``data.allow_leakage``.

    Raises:
        LeakageError: the candidate was trained on one of the images, and that isn't allowed.
    """
    seen = set(seen_in_training(candidate.bundle, (sample.sha256 for sample in samples)))
    if seen and not allowed:
        paths = [printable(sample.path) for sample in samples if sample.sha256 in seen]
        raise LeakageError(
            f"{len(paths)} test images were among the training images of {candidate.reference}; a test on training images "
            "is worthless. Remove them from the test folder, or train again without them (data.allow_leakage: true allows "
            "them, and every report says so):\n  " + "\n  ".join(paths[:10])
        )
    return [*_leaks(candidate, samples, seen), *_shortcuts(candidate)]


def _shortcuts(candidate: Scored) -> list[str]:
    told = candidate.inspector.card.data.get("shortcuts")
    if not told:
        return []
    return [
        f"Shortcuts: in the training images {told} (data.allow_shortcuts): the figures of this report may not measure the "
        "detection of defects"
    ]


def _leaks(candidate: Scored, samples: Sequence[Sample], seen: set[str]) -> list[str]:
    at_training = int(candidate.inspector.card.data.get("leaking_images", 0))
    count = max(at_training, sum(sample.sha256 in seen for sample in samples))
    if not count:
        return []
    return [
        f"Leakage: {count} test images, or others of their group, were among the training images (data.allow_leakage): the "
        "figures of this report are too good"
    ]
