"""See that a registered version works, before and after it goes into production without an evaluation."""

import shutil
import tempfile
from pathlib import Path

from defect_detection.config import Config
from defect_detection.errors import BundleError
from defect_detection.inference.inspect import Inspector
from defect_detection.model.bundle import read_card, verify
from defect_detection.model.parity import golden_parity
from defect_detection.tracking.registry import ModelRef, Registry


def vet(reference: ModelRef, registry: Registry, config: Config) -> None:
    """Fetch the version's files anew from the store, and check them; a damaged copy kept here is replaced.

    Raises:
        BundleError: what the store holds is damaged, or gives other verdicts than in training.
        TrackingError: the files are gone.
    """
    config.cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=config.cache_dir, prefix=".incomplete-") as folder:
        fetched = registry.fetch(reference, Path(folder))
        try:
            check(fetched, config)
        except BundleError as error:
            reason = str(error).replace(f"{fetched}/", "").replace(str(fetched), "its folder")
            raise BundleError(
                f"{reference} can't go into production, which was left as it is. Of its files in the store: {reason}"
            ) from error
    kept = registry.bundle_of(reference, config.cache_dir)
    try:
        check(kept, config)
    except BundleError:
        shutil.rmtree(kept)
        registry.bundle_of(reference, config.cache_dir)


def check(bundle: Path, config: Config) -> None:
    """Compare every file with its checksum, load the model, and let it judge its golden images.

    Raises:
        BundleError: a file is missing or damaged, or a golden image gets another verdict than in training.
    """
    try:
        verify(bundle, read_card(bundle))
    except UnicodeDecodeError as error:
        raise BundleError(
            f"{bundle}: the card is not a text; it is damaged, copy the whole folder again"
        ) from error
    inspector = Inspector.load(bundle, threads=config.inference.threads)
    found = golden_parity(bundle, lambda images: inspector.score(images)["score"], "OpenVINO")
    if found.flips:
        raise BundleError(f"{bundle}: {found.flips} golden image(s) get another verdict than in training")
