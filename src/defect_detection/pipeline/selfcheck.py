"""Check a model where it works: its files, the verdicts of its deployed form, and the known defects."""

from dataclasses import dataclass
from pathlib import Path

from defect_detection.config import Config
from defect_detection.errors import BundleError, NoModelError
from defect_detection.evaluation.gate import Check
from defect_detection.inference.inspect import Inspector
from defect_detection.model.bundle import Card, read_card, read_golden, verify
from defect_detection.pipeline.challenge import check_challenge
from defect_detection.tracking.registry import Registry


@dataclass(frozen=True)
class SelfCheck:
    """What was checked of which model. passed: nothing failed; a check without anything to look at fails nothing."""

    model: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed is not False for check in self.checks)


def selfcheck(config: Config, folder: Path | None = None) -> SelfCheck:
    """Check what is in production, or a model folder. After damaged files nothing else is checked.

    Raises:
        NoModelError: nothing is in production, and no folder was given.
    """
    name, bundle = (str(folder), folder) if folder else _in_production(config)
    files = _checked_files(bundle)
    if not files.passed:
        return SelfCheck(name, (files,))
    inspector = Inspector.load(bundle, threads=config.inference.threads, precision=config.inference.precision)
    golden, challenge = _golden(inspector, bundle), check_challenge(inspector, config)
    return SelfCheck(name, (files, golden, _reference(inspector.card), challenge))


def _in_production(config: Config) -> tuple[str, Path]:
    registry = Registry(config.tracking_uri)
    name, alias = config.inference_model_name, config.inference_model_alias
    if (reference := registry.version_of(name, alias)) is None:
        raise NoModelError(
            f"{name}@{alias}: no such model; run `defect train` and `defect evaluate`, or name a model folder "
            "with --model DIR"
        )
    return f"{reference} @{alias}", registry.bundle_of(reference, config.cache_dir)


def _checked_files(bundle: Path) -> Check:
    try:
        card = read_card(bundle)
        verify(bundle, card)
    except BundleError as error:
        return Check(name="files", passed=False, text=str(error))
    return Check(
        name="files", passed=True, text=f"{len(card.checksums)} files are as they were trained (sha256)"
    )


def _golden(inspector: Inspector, bundle: Path) -> Check:
    """Compare verdicts with those of Keras when the model was trained."""
    images, expected = read_golden(bundle)
    scores, verdict = inspector.score(images)["score"], inspector.card.verdict
    flips = sum(verdict(float(a)) != verdict(float(b)) for a, b in zip(scores, expected, strict=True))
    moved = f"scores move by up to {abs(scores - expected).max():.2g}"
    text = f"{flips} of {len(images)} golden images get another verdict than when it was trained; {moved}"
    return Check(name="golden", passed=not flips, text=text)


def _reference(card: Card) -> Check:
    """Say whether an image that is unlike the training images, such as a black one, can be told."""
    if card.reference is None:
        text = (
            "The model is of an earlier version: a black frame or another product may pass as ok; train again"
        )
        return Check(name="reference", passed=None, text=text)
    low, high = card.reference.ranges["brightness"]
    text = f"An image unlike the {card.reference.images} training images (brightness outside {low:.0f} to {high:.0f}, …) is never ok"
    return Check(name="reference", passed=True, text=text)
