"""Check that a registered version works, before and after a promotion by hand or a rollback."""

import shutil
from contextlib import ExitStack
from pathlib import Path

from defect_detection.config import Config
from defect_detection.errors import BundleError, TrackingError, without_room
from defect_detection.files.unfinished import working_folder
from defect_detection.inference.inspect import Inspector
from defect_detection.model.bundle import read_card, verify
from defect_detection.model.seal import require_sealed
from defect_detection.tracking.reading import ModelRef
from defect_detection.tracking.registry import Registry, kept_at


def vet(reference: ModelRef, registry: Registry, config: Config) -> str | None:
    """Check the version's files as the store has them; a damaged copy kept here is replaced.

    Returns:
        A note on unchecked files: without disk space for a download, only the local copy is checked.

    Raises:
        BundleError: the files in the store are damaged, or give different verdicts than at training.
        TrackingError: the files are gone.
    """
    kept, note = kept_at(reference, config.cache_dir), None
    try:
        _check_stored(reference, registry, config)
    except (OSError, TrackingError) as error:
        if not without_room(error) or not kept.is_dir():
            raise
        check(kept, config)
        require_sealed(kept, reference.seal, str(reference))
        note = f"Only the copy on this machine was checked, not the files in the store ({error})"
    if kept.is_dir():
        try:
            check(kept, config)
            require_sealed(kept, reference.seal, str(reference))
        except BundleError:
            shutil.rmtree(kept)
    registry.bundle_of(reference, config.cache_dir)
    return note


def _check_stored(reference: ModelRef, registry: Registry, config: Config) -> None:
    with ExitStack() as stack:
        stored = registry.lying(reference)
        if stored is None:
            config.cache_dir.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(working_folder(config.cache_dir))
            stored = registry.fetch(reference, folder)
        try:
            check(stored, config)
            require_sealed(stored, reference.seal, str(reference))
        except BundleError as error:
            reason = str(error).replace(f"{stored}/", "").replace(str(stored), "its folder")
            raise BundleError(
                f"{reference} was not promoted; production is unchanged. Its files in the store: {reason}"
            ) from error


def check(bundle: Path, config: Config) -> None:
    """Compare every file with its checksum, load the model, and let it judge its golden images.

    Raises:
        BundleError: a file is missing or damaged, or a golden image gets another verdict than in training.
    """
    verify(bundle, read_card(bundle))
    inspector = Inspector.load(bundle, threads=config.inference.threads)
    found = inspector.parity(bundle)
    if not found.same_verdicts:
        raise BundleError(f"{bundle}: {found.flips_in_words}")
