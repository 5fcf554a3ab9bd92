"""Add exported feedback to the training images."""

from collections.abc import Sequence

from defect_detection.config import Config
from defect_detection.data.samples import Sample, Skipped, scan
from defect_detection.errors import DataError


def with_feedback(
    train: Sequence[Sample], test: Sequence[Sample], config: Config
) -> tuple[list[Sample], list[Skipped]]:
    """Return the training images with those of ``data.feedback_dir``, and what is left out of them and why.

    Where feedback labels an image that is there already, the label of feedback counts: a person gave it later. An image that
    is in the test split, or of a group that is, is left out.

    Raises:
        DataError: the index of the folder is wrong.
    """
    folder = config.data.feedback_dir
    if folder is None or not folder.is_dir():
        return list(train), []
    try:
        found, skipped = scan(folder, config.data.ok_classes)
    except DataError as error:
        raise DataError(f"data.feedback_dir: {error}") from error
    used = {sample.sha256: sample for sample in found}
    contents, groups = {sample.sha256 for sample in test}, {sample.group for sample in test if sample.group}
    for sample in found:
        if sample.sha256 in contents or sample.group in groups:
            skipped.append(Skipped(sample.path, "it, or its group, is in the test split"))
            del used[sample.sha256]
    kept: list[Sample] = []
    for sample in train:
        corrected = used.get(sample.sha256)
        if corrected is None:
            kept.append(sample)
        elif corrected.label == sample.label:
            kept.append(sample)
            del used[sample.sha256]
        else:
            skipped.append(Skipped(sample.path, f"feedback labels it otherwise: {corrected.path}"))
    return kept + list(used.values()), skipped
