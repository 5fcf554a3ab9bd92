"""Find leakage: test images that, or whose group, are also in the training data."""

from collections.abc import Iterable, Sequence

from defect_detection.data.index_file import shortened
from defect_detection.data.samples import Sample
from defect_detection.errors import LeakageError
from defect_detection.text import printable


def shared_groups(train: Iterable[Sample], test: Iterable[Sample]) -> list[str]:
    """Return the names of groups that have images on both sides."""
    return sorted({s.group for s in train if s.group} & {s.group for s in test})


def identical(train: Iterable[Sample], test: Iterable[Sample]) -> list[tuple[Sample, Sample]]:
    """Return pairs of a training and a test image with the same bytes, one pair per test image."""
    by_content = {sample.sha256: sample for sample in train}
    return [(by_content[sample.sha256], sample) for sample in test if sample.sha256 in by_content]


def leaking(train: Sequence[Sample], test: Sequence[Sample]) -> list[Sample]:
    """Return the test images that are, or whose group is, among the training images."""
    groups = set(shared_groups(train, test))
    contents = {sample.sha256 for sample in train}
    return [sample for sample in test if sample.sha256 in contents or sample.group in groups]


def check_leakage(train: Iterable[Sample], test: Iterable[Sample]) -> None:
    """Refuse data where a test image, or another image of its group, is among the training images.

    Raises:
        LeakageError: lists the shared groups and the identical images.
    """
    train, test = list(train), list(test)
    groups = shared_groups(train, test)
    same = [f"{printable(known.path)} = {printable(sample.path)}" for known, sample in identical(train, test)]
    parts = []
    if groups:
        parts.append("\n  ".join([f"{len(groups)} groups are in both train and test:", *shortened(groups)]))
    if same:
        parts.append("\n  ".join([f"{len(same)} test images are also in train:", *shortened(same)]))
    if parts:
        advice = (
            "remove them from one of the two folders, because a test on training images is worthless. `defect data check` "
            "lists all; with data.allow_leakage: true, training continues and every report says so"
        )
        raise LeakageError("\n".join([*parts, advice]))
