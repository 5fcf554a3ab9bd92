"""Inspect images with the model in production or a model folder, and write overlays.

Modules that only some calls need are imported late, so the first verdict of a model folder takes well under a second.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defect_detection.data.bounds import DEFAULT_LIMITS, Limits
from defect_detection.data.boxes import BoxRules
from defect_detection.data.framing import Framing
from defect_detection.data.images import Pages
from defect_detection.data.other_files import OVERLAY_NOTE
from defect_detection.data.walk import Walked, find_images, reasons
from defect_detection.errors import DataError, ImageError
from defect_detection.inference.inspect import Inspection, Inspector
from defect_detection.processes.watch import Watch, unwatched
from defect_detection.text import printable
from defect_detection.use_cases.no_model import no_model
from defect_detection.use_cases.overlays import open_overlay_folder, overlay_names, replace_overlay

if TYPE_CHECKING:
    from defect_detection.config import Config


@dataclass
class Inspecting:
    """An inspection of folders, files or patterns, which yields verdicts lazily.

    inspections: one of each image. failed: why overlays could not be written, so far; the verdicts stand.
    watch: follows the tiles of a large image; may be set before the first verdict.
    """

    inspector: Inspector
    found: Walked
    inspections: Iterator[Inspection]
    notes: tuple[str, ...] = ()
    failed: list[str] = field(default_factory=list)
    watch: Watch = unwatched


def inspect_images(
    patterns: Sequence[str],
    model: Path | None = None,
    output: Path | None = None,
    config: "Config | None" = None,
    show_region: bool = False,
) -> Inspecting:
    """Begin to inspect. With a model folder and images given, no configuration is needed.

    Args:
        patterns: files, folders or patterns; without any, ``inference_images`` of the configuration.
        model: a model folder; the model in production when not given.
        output: a folder for the overlays of the images; without it none are written.
        show_region: overlays are dark where the model does not see the image.

    Raises:
        DataError: there are no images; one cannot be read, and ``data.on_unreadable`` is ``refuse``; or `output` cannot be used.
    """
    found = find_images(patterns or (config.inference_images if config else ()), leave_out=output)
    if config and config.data.on_unreadable == "refuse":
        _refuse_skipped(found)
    inspector = _inspector(config, model)
    note = inspector.card.other_bit_depth(config.data.bit_depth) if config else None
    limits = Limits.of(config.data) if config else DEFAULT_LIMITS
    pages: Pages = config.data.pages if config else "refuse"

    def on_tile(phase: str, done: int, total: int, metrics: Mapping[str, float] | None = None) -> None:
        if total > 1:
            inspecting.watch("tiles", printable(phase), done, total)

    inspections = inspector.inspect(found.images, limits=limits, pages=pages, on_tile=on_tile)
    inspecting = Inspecting(inspector, found, iter(inspections), (note,) if note else ())
    if output:
        open_overlay_folder(output, found.images)
        names = {path: output / name for path, name in overlay_names(found).items()}
        how: dict[str, Any] = {"bit_depth": inspector.card.bit_depth, "limits": limits, "pages": pages}
        how |= {"shown": inspector.card.frame} if show_region else {}
        inspecting.inspections = _with_overlays(inspections, names, how, inspecting.failed)
    return inspecting


def _refuse_skipped(found: Walked) -> None:
    if found.skipped:
        title = "some files cannot be inspected, and data.on_unreadable is refuse; convert or remove them"
        raise DataError("\n  ".join([title, *reasons(found.skipped)]))


def _inspector(config: "Config | None", model: Path | None) -> Inspector:
    if model is None:
        assert config is not None
        return load_inspector(config)
    if config is None:
        return Inspector.load(model)
    settings, rules = config.inference, BoxRules.of(config)
    return Inspector.load(model, threads=settings.threads, precision=settings.precision, box_rules=rules)


def _with_overlays(
    inspections: Iterable[Inspection], names: Mapping[Path, Path], how: Mapping[str, Any], failed: list[str]
) -> Iterator[Inspection]:
    """Write an overlay of each image, and add those that can't be written to `failed`."""
    for inspection in inspections:
        try:
            write_overlay(inspection, names[Path(inspection.path)], **how)
        except (OSError, ImageError) as error:
            failed.append(f"{inspection.path}: {error}")
        yield inspection


def load_inspector(config: "Config") -> Inspector:
    """Load ``inference_model_name``@``inference_model_alias`` from the registry; its files are fetched once.

    Raises:
        NoModelError: nothing was promoted yet.
        TrackingError: MLflow can't be reached.
    """
    folder, name = production_bundle(config)
    settings, rules = config.inference, BoxRules.of(config)
    return Inspector.load(
        folder, name=name, threads=settings.threads, precision=settings.precision, box_rules=rules
    )


def production_bundle(config: "Config") -> tuple[Path, str]:
    """Return the folder of the model in production, fetched once, and what verdicts call it. Raises what `load_inspector` does."""
    from defect_detection.tracking.registry import Registry

    name, alias = config.inference_model_name, config.inference_model_alias
    registry = Registry(config.tracking_uri)
    reference = registry.version_of(name, alias)
    if reference is None:
        raise no_model(config, "use a model folder with --model DIR")
    return registry.bundle_of(reference, config.cache_dir), f"{name} v{reference.version} @{alias}"


def write_overlay(
    inspection: Inspection,
    name: Path,
    *,
    bit_depth: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    pages: Pages = "refuse",
    shown: Framing | None = None,
) -> Path | None:
    """Write the image, in its own size, with its evidence over it as ``<name>.<verdict>.png``; None when it couldn't be read.

    Args:
        name: of the overlay, with its folder; see `defect_detection.use_cases.overlays.overlay_names`.
        bit_depth, limits, pages: as the image was inspected with. shown: as for `overlay_png`.

    Raises:
        ImageError: the image can't be read any more. OSError: the overlay can't be written.
    """
    from defect_detection.inference.overlay import overlay_png

    if inspection.evidence is None:
        return None
    source = Path(inspection.path)
    picture = overlay_png(
        source,
        inspection,
        bit_depth=bit_depth,
        limits=limits,
        pages=pages,
        note=OVERLAY_NOTE,
        shown=shown,
    )
    return replace_overlay(name, inspection.verdict, lambda path: path.write_bytes(picture))
