"""Inspect images with what is in production, or with a bundle."""

from pathlib import Path

from defect_detection.config import Config
from defect_detection.data.bounds import DEFAULT_LIMITS, Limits
from defect_detection.data.images import Pages
from defect_detection.data.other_files import OVERLAY_NOTE
from defect_detection.errors import NoModelError
from defect_detection.inference.inspect import Inspection, Inspector
from defect_detection.tracking.registry import Registry
from defect_detection.use_cases.overlays import replace_overlay


def load_inspector(config: Config) -> Inspector:
    """Load ``inference_model_name``@``inference_model_alias`` from the registry; its files are fetched once.

    Raises:
        NoModelError: nothing was promoted yet.
        TrackingError: MLflow can't be reached.
    """
    name, alias = config.inference_model_name, config.inference_model_alias
    registry = Registry(config.tracking_uri)
    reference = registry.version_of(name, alias)
    if reference is None:
        raise NoModelError(
            f"{name}@{alias}: no such model in {config.tracking_uri}; make one with `defect train` and "
            "`defect evaluate`, or inspect with a model folder: `defect inspect --model DIR`"
        )
    settings = config.inference
    return Inspector.load(
        registry.bundle_of(reference, config.cache_dir),
        name=f"{name} v{reference.version} @{alias}",
        threads=settings.threads,
        precision=settings.precision,
    )


def write_overlay(
    inspection: Inspection,
    name: Path,
    *,
    bit_depth: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    pages: Pages = "refuse",
) -> Path | None:
    """Write the image, in its own size, with its evidence over it as ``<name>.<verdict>.png``; None when it couldn't be read.

    Args:
        name: of the overlay, with its folder; see `defect_detection.use_cases.overlays.overlay_names`.
        bit_depth, limits, pages: as the image was inspected with.

    Raises:
        ImageError: the image can't be read any more. OSError: the overlay can't be written.
    """
    from defect_detection.inference.overlay import overlay_png

    if inspection.evidence is None:
        return None
    source = Path(inspection.path)
    picture = overlay_png(
        source, inspection, bit_depth=bit_depth, limits=limits, pages=pages, note=OVERLAY_NOTE
    )
    return replace_overlay(name, inspection.verdict, lambda path: path.write_bytes(picture))
