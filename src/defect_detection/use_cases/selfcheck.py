"""Check a deployed model: its files, the verdicts of its deployed form, and the known defects."""

from dataclasses import dataclass
from pathlib import Path

from defect_detection.config import Config
from defect_detection.errors import BundleError
from defect_detection.evaluation.gate import Check
from defect_detection.inference.inspect import Inspector
from defect_detection.model.bundle import read_card, verify
from defect_detection.model.card import Card
from defect_detection.model.seal import digest
from defect_detection.tracking.lease import PROMOTIONS
from defect_detection.tracking.ledger import other_seal
from defect_detection.tracking.ledger_listing import list_entries
from defect_detection.tracking.reading import ModelRef
from defect_detection.tracking.registry import Registry
from defect_detection.use_cases.checks import check_challenge
from defect_detection.use_cases.no_model import no_model


@dataclass(frozen=True)
class SelfCheck:
    """The checks of a model. passed: no check failed; a check without input does not fail."""

    model: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed is not False for check in self.checks)


def selfcheck(config: Config, folder: Path | None = None) -> SelfCheck:
    """Check the model in production, or a model folder. With damaged files, the other checks are skipped.

    Raises:
        NoModelError: nothing is in production, and no folder was given.
    """
    reference = None if folder else _in_production(config)
    name = f"{reference} @{config.inference_model_alias}" if reference else str(folder)
    try:
        bundle = folder or _bundle_of(reference, config)
    except BundleError as error:
        return SelfCheck(name, (Check(name="registered", passed=False, text=str(error)),))
    files, registered = _checked_files(bundle), _registered(reference, config)
    if not files.passed or registered.passed is False:
        return SelfCheck(name, (files, registered))
    inspector = Inspector.load(bundle, threads=config.inference.threads, precision=config.inference.precision)
    golden, challenge = _golden(inspector, bundle), check_challenge(inspector, config)
    return SelfCheck(name, (files, registered, golden, _reference(inspector.card), challenge))


def _in_production(config: Config) -> ModelRef:
    name, alias = config.inference_model_name, config.inference_model_alias
    if (reference := Registry(config.tracking_uri).version_of(name, alias)) is None:
        raise no_model(config, "use a model folder with --model DIR")
    return reference


def _bundle_of(reference: ModelRef | None, config: Config) -> Path:
    return Registry(config.tracking_uri).bundle_of(reference or _in_production(config), config.cache_dir)


def _registered(reference: ModelRef | None, config: Config) -> Check:
    """Check that the files match the registry (compared by `Registry.bundle_of`) and the ledger."""
    if reference is None:
        text = "A folder outside the registry: only its own checksums protect it"
        return Check(name="registered", passed=None, text=text)
    if reference.name == config.mlflow.production_model_name:
        entries = [one.entry for one in list_entries(config.tracking_uri, config.named(PROMOTIONS))]
        if other := other_seal(entries, reference.version, digest(reference.seal)):
            return Check(name="registered", passed=False, text=f"{reference}: {other}")
    if reference.seal is None:
        text = (
            "An earlier version registered the model without the SHA-256 of its files, so a changed card is not detected; "
            "train and register again"
        )
        return Check(name="registered", passed=None, text=text)
    return Check(name="registered", passed=True, text="All files are unchanged since registration (SHA-256)")


def _checked_files(bundle: Path) -> Check:
    try:
        card = read_card(bundle)
        verify(bundle, card)
    except BundleError as error:
        return Check(name="files", passed=False, text=str(error))
    return Check(
        name="files", passed=True, text=f"{len(card.checksums)} files are unchanged since training (SHA-256)"
    )


def _golden(inspector: Inspector, bundle: Path) -> Check:
    """Compare verdicts with those of Keras when the model was trained."""
    try:
        found = inspector.parity(bundle)
    except BundleError as error:
        return Check(name="golden", passed=False, text=str(error))
    moved = f"scores differ by up to {found.difference:.2g}"
    return Check(name="golden", passed=found.same_verdicts, text=f"{found.flips_in_words}; {moved}")


def _reference(card: Card) -> Check:
    """Check that the model recognises images unlike the training images, such as a black one."""
    if card.reference is None:
        text = (
            "The model is from an earlier version and does not check for unlike images: a black frame or another product "
            "may pass as ok. Train again"
        )
        return Check(name="reference", passed=None, text=text)
    low, high = card.reference.ranges["brightness"]
    text = f"An image unlike the {card.reference.images} training images (brightness outside {low:.0f} to {high:.0f}, …) is never ok"
    return Check(name="reference", passed=True, text=text)
