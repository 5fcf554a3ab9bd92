"""What the audit judges, and what it says: findings, each with the images that it is about."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from defect_detection.data.audit.catalogue import KINDS, FindingKind, Severity
from defect_detection.data.samples import DEFECTIVE, Sample, Skipped
from defect_detection.data.shortcuts import Shortcut


@dataclass(frozen=True)
class AuditEntry:
    """One image or several related images, with a text."""

    paths: tuple[Path, ...]
    text: str = ""


@dataclass(frozen=True)
class Finding:
    """One kind of finding with all images that it is about."""

    kind: FindingKind
    severity: Severity
    summary: str
    entries: tuple[AuditEntry, ...] = ()


@dataclass(frozen=True)
class Material:
    """The input of the audit. `measured` has a row for each of `samples`, see `MEASURED`.

    scores: held-out P(defective), or held-out anomaly scores, by the ``sha256`` of the image.
    masks: images that look like masks of others.
    bit_depth: `data.bit_depth`. shortcuts: file properties that predict the label of the training images.
    folder: for temporary files; None: all is in memory.
    """

    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    skipped: tuple[Skipped, ...]
    measured: np.ndarray
    scores: Mapping[str, float]
    masks: tuple[Path, ...] = ()
    bit_depth: int | None = None
    shortcuts: tuple[Shortcut, ...] = ()
    folder: Path | None = None
    are_anomaly_scores: bool = False

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        return self.train + self.test

    @cached_property
    def is_test(self) -> np.ndarray:
        return np.arange(len(self.samples)) >= len(self.train)


def finding(kind: str, summary: str, entries: Iterable[AuditEntry] = ()) -> Finding:
    """Return a finding as bad as its kind usually is."""
    return Finding(KINDS[kind], KINDS[kind].severity, summary, tuple(entries))


def labels_in_words(samples: Iterable[Sample]) -> str:
    """Return the labels of images, one after the other."""
    return " / ".join("defective" if sample.label == DEFECTIVE else "OK" for sample in samples)


def counted(number: int, word: str, plural: str = "") -> str:
    """Return a number and its noun."""
    return f"{number} {word}" if number == 1 else f"{number} {plural or word + 's'}"
