"""Find images that are alike: of one group, the same, or nearly the same."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from defect_detection.data.audit.material import (
    AuditEntry,
    Finding,
    Material,
    counted,
    finding,
    labels_in_words,
)
from defect_detection.data.audit.near import Nearest, nearest
from defect_detection.data.leakage import identical, shared_groups
from defect_detection.data.samples import DEFECTIVE, Sample


def groups_across_splits(material: Material) -> Iterator[Finding]:
    members = defaultdict(list)
    for sample in material.samples:
        members[sample.group].append(sample.path)
    groups = shared_groups(material.train, material.test)
    if groups:
        entries = [AuditEntry(tuple(members[group]), group) for group in groups]
        yield finding("groups_across_splits", f"{counted(len(groups), 'group')} in both folders", entries)


def copies_across_splits(material: Material) -> Iterator[Finding]:
    pairs = [
        AuditEntry((known.path, sample.path)) for known, sample in identical(material.train, material.test)
    ]
    if pairs:
        yield finding("copies_across_splits", f"{counted(len(pairs), 'test image')} also in train", pairs)


def copies(material: Material) -> Iterator[Finding]:
    by_content: dict[str, list[Sample]] = defaultdict(list)
    for sample in material.samples:
        by_content[sample.sha256].append(sample)
    alike = [samples for samples in by_content.values() if len(samples) > 1]
    torn: list[list[Sample]] = []
    whole: list[list[Sample]] = []
    for samples in alike:
        (torn if len({sample.label for sample in samples}) > 1 else whole).append(samples)
    if torn:
        entries = [AuditEntry(tuple(s.path for s in samples), labels_in_words(samples)) for samples in torn]
        yield finding("copies_across_labels", f"{counted(len(torn), 'image')} with two labels", entries)
    train = {sample.path for sample in material.train}
    sides = [
        [s.path for s in samples if (s.path in train) == side] for samples in whole for side in (True, False)
    ]
    entries = [AuditEntry(tuple(paths)) for paths in sides if len(paths) > 1]
    if entries:
        spare = sum(len(entry.paths) - 1 for entry in entries)
        yield finding(
            "copies", f"{counted(spare, 'copy', 'copies')} of {counted(len(entries), 'image')}", entries
        )


def near_copies(material: Material) -> Iterator[Finding]:
    across_splits, across_labels, within = _nearest(material)
    samples = material.samples
    tests = np.flatnonzero((across_splits.partner >= 0) & material.is_test)
    order = tests[np.argsort(-across_splits.similarity[tests], kind="stable")]
    if len(order):
        pairs = [(int(across_splits.partner[i]), int(i), across_splits.similarity[i]) for i in order]
        summary = f"{len(pairs)} of {counted(len(material.test), 'test image')} nearly identical to a training image"
        yield finding("near_across_splits", summary, [_pair(samples, *pair) for pair in pairs])
    for kind, result in (("near_across_labels", across_labels), ("near_within", within)):
        if (result.partner >= 0).any():
            entries = [_pair(samples, i, j, result.similarity[i]) for i, j in result.pairs()]
            yield finding(
                kind, f"{counted(int((result.partner >= 0).sum()), 'image')} with a near duplicate", entries
            )


def _nearest(material: Material) -> list[Nearest]:
    samples, measured = material.samples, material.measured
    return nearest(
        measured["hash"],
        measured["thumbnail"],
        contents=_numbered(sample.sha256 for sample in samples),
        parts=_numbered(sample.group or f"\0{place}" for place, sample in enumerate(samples)),
        relations=np.stack([material.is_test, [sample.label == DEFECTIVE for sample in samples]]),
        folder=material.folder,
    )


def _pair(samples: Sequence[Sample], one: int, other: int, similarity: float) -> AuditEntry:
    pair = samples[one], samples[other]
    return AuditEntry((pair[0].path, pair[1].path), f"similarity {similarity:.2f} · {labels_in_words(pair)}")


def _numbered(names: Iterable[str]) -> np.ndarray:
    return np.unique(list(names), return_inverse=True)[1]
