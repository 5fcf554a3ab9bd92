"""Add exported feedback to the training images."""

from collections.abc import Iterable, Sequence

from defect_detection.config import Config
from defect_detection.data.samples import Sample, Scanned, Skipped, scan_folder
from defect_detection.errors import DataError


def with_feedback(
    train: Sequence[Sample], test: Sequence[Sample], config: Config
) -> tuple[list[Sample], list[Skipped], list[Scanned]]:
    """Return the training images with those of ``data.feedback_dir``, what is left out and why, and how the folder was understood.

    Where feedback labels an image that is there already, the label of feedback counts for every copy: a person gave it later. An
    image that is in the test split, or of a group that is, is left out; so is one that feedback itself labels in two ways.

    Raises:
        DataError: the index of the folder is wrong.
    """
    data = config.data
    if data.feedback_dir is None or not data.feedback_dir.is_dir():
        return list(train), [], []
    try:
        scanned = scan_folder(data.feedback_dir, data.ok_classes, defect_classes=data.defect_classes)
    except DataError as error:
        raise DataError(f"data.feedback_dir: {error}") from error
    usable, skipped = _usable(scanned.samples, test)
    known: set[str] = set()
    kept: list[Sample] = []
    for sample in train:
        said = usable.get(sample.sha256)
        if said is None or said.label == sample.label:
            kept.append(sample)
            known.add(sample.sha256)
        else:
            skipped.append(Skipped(sample.path, f"feedback gives it another label: {said.path}"))
    added = [sample for sample in usable.values() if sample.sha256 not in known]
    return kept + added, [*scanned.skipped, *skipped], [scanned]


def _usable(found: Iterable[Sample], test: Sequence[Sample]) -> tuple[dict[str, Sample], list[Skipped]]:
    """Return one sample of each content that may be trained on, and the others with the reason."""
    contents, groups = {sample.sha256 for sample in test}, {sample.group for sample in test if sample.group}
    labels: dict[str, set[int]] = {}
    found = list(found)
    for sample in found:
        labels.setdefault(sample.sha256, set()).add(sample.label)
    usable: dict[str, Sample] = {}
    skipped = []
    for sample in found:
        if sample.sha256 in contents or sample.group in groups:
            skipped.append(Skipped(sample.path, "the image or its group is in the test split"))
        elif len(labels[sample.sha256]) > 1:
            skipped.append(
                Skipped(sample.path, "feedback contains copies with two labels; remove the wrong copy")
            )
        else:
            usable.setdefault(sample.sha256, sample)
    return usable, skipped
