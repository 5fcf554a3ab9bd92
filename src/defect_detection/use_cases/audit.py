"""Audit the data: before every training, and on demand. The findings go to ``audit.html`` and ``audit.json``."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from defect_detection.config import Config
from defect_detection.data.audit.catalogue import Severity
from defect_detection.data.audit.findings import find
from defect_detection.data.audit.material import Finding, Material
from defect_detection.data.audit.measure import measured
from defect_detection.data.bounds import Limits
from defect_detection.data.cache import RowStore
from defect_detection.data.exported_feedback import with_feedback
from defect_detection.data.framed import framing_of
from defect_detection.data.samples import Sample, Skipped
from defect_detection.data.shortcuts import find_shortcuts
from defect_detection.data.split import Splits, readable, scan_split
from defect_detection.errors import BundleError
from defect_detection.model.bundle import read_card, read_held_out
from defect_detection.processes.watch import Watch, unwatched
from defect_detection.report.audit_page import write_audit

_TASK = "checking data"


@dataclass(frozen=True)
class Audited:
    """The result of an audit. files: ``html`` and ``json``. has_scores: labels were compared with a model's scores.

    said: the classes of the folders and the unused files, one line each.
    """

    findings: tuple[Finding, ...]
    files: dict[str, Path]
    has_scores: bool
    said: tuple[str, ...] = ()

    @property
    def warnings(self) -> list[str]:
        """The findings that may make figures wrong, one line each."""
        found = [one for one in self.findings if one.severity in (Severity.ALLOWED, Severity.WARNING)]
        return [f"! {one.kind.title}: {one.summary}" for one in found]

    @property
    def is_blocked(self) -> bool:
        return any(finding.severity is Severity.BLOCKS for finding in self.findings)

    def __str__(self) -> str:
        counts = Counter(map(_word, self.findings))
        parts = [
            f"{counts[word]} {_number_of(word, counts[word]) if word in ('warning', 'note') else word}"
            for word in ("blocking", "allowed leakage", "allowed shortcut", "warning", "note")
            if counts[word]
        ]
        count = len(self.findings)
        return f"{count} {_number_of('finding', count)}" + (f" ({', '.join(parts)})" if parts else "")


def _word(finding: Finding) -> str:
    if finding.severity is Severity.ALLOWED:
        return "allowed shortcut" if finding.kind.name == "shortcuts" else "allowed leakage"
    return "blocking" if finding.severity is Severity.BLOCKS else finding.severity.value


def _number_of(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def audit(config: Config, watch: Watch = unwatched) -> Audited:
    """Audit both folders and the feedback, whatever is wrong with them.

    Raises:
        DataError: a folder is missing, or lacks a label.
    """
    lenient = config.model_copy(update={"data": config.data.model_copy(update={"on_unreadable": "skip"})})
    of_train, of_test = scan_split(lenient, "train_dir"), scan_split(lenient, "test_dir")
    found, left_out, of_feedback = with_feedback(of_train.samples, of_test.samples, lenient)
    skipped, skipped_test = [*of_train.skipped, *left_out], list(of_test.skipped)
    framing = framing_of(lenient, found)
    follow_train = partial(watch, "reading train images", "decoding")
    train, pixels = readable(lenient, "train_dir", found, skipped, follow_train, framing)
    follow_test = partial(watch, "reading test images", "decoding")
    test, _ = readable(lenient, "test_dir", of_test.samples, skipped_test, follow_test, framing)
    scanned = (of_train, of_test, *of_feedback)
    masks = tuple(mask for one in scanned for mask in one.masks)
    said = tuple(line for one in scanned for line in one.said())
    return _audit(train, test, (*skipped, *skipped_test), pixels, config, watch, said, masks)


def audit_splits(splits: Splits, config: Config, watch: Watch = unwatched) -> Audited:
    """Audit the images that training is about to use; they are already decoded."""
    return _audit(splits.samples, splits.test, splits.skipped, splits.pixels, config, watch, splits.said)


def _audit(
    train: Sequence[Sample],
    test: Sequence[Sample],
    skipped: Sequence[Skipped],
    pixels: RowStore,
    config: Config,
    watch: Watch,
    said: Sequence[str],
    masks: Sequence[Path] = (),
) -> Audited:
    samples = (*train, *test)
    rows = measured(
        samples,
        pixels,
        config.cache_dir,
        partial(watch, _TASK, "measuring"),
        Limits.of(config.data),
    )
    scores, are_anomaly_scores = _held_out_scores(config.bundle_dir)
    watch(_TASK, "comparing", 0, len(samples))
    material = Material(
        tuple(train),
        tuple(test),
        tuple(skipped),
        rows,
        scores,
        tuple(masks),
        config.data.bit_depth,
        tuple(find_shortcuts(train, config.cache_dir)),
        config.cache_dir,
        are_anomaly_scores,
    )
    findings = find(
        material,
        config.data.allow_leakage,
        refuse_unreadable=config.data.on_unreadable == "refuse",
        allow_shortcuts=config.data.allow_shortcuts,
        learns_labels=config.training.mode != "one_class",
    )
    files = write_audit(material, findings, said, pixels, config)
    watch(_TASK, "comparing", len(samples), len(samples))
    has_scores = any(sample.sha256 in scores for sample in train)
    return Audited(tuple(findings), files, has_scores, tuple(said))


def _held_out_scores(bundle: Path) -> tuple[dict[str, float], bool]:
    """Return the scores of a model folder by sha256, and whether they are anomaly scores; none without a readable card."""
    try:
        kind = read_card(bundle).kind
    except BundleError:  # there is no model, or it is damaged: nothing tells what its scores are
        return {}, False
    return read_held_out(bundle), kind == "one_class"
