"""Write the manifest of a training, read that of a version, and compare two sides for `defect data diff`."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from defect_detection.config import Config, load_config
from defect_detection.data.audit.material import Finding
from defect_detection.data.exported_feedback import with_feedback
from defect_detection.data.manifest import NAME, Manifest, ManifestEntry, read_manifest
from defect_detection.data.manifest_diff import ManifestDiff, compare
from defect_detection.data.samples import DEFECTIVE, Sample, scan_folder
from defect_detection.data.split import Splits, scan_split
from defect_detection.errors import DataError, NoModelError
from defect_detection.model.bundle import CARD_FILE, read_card
from defect_detection.text import from_root
from defect_detection.tracking.artifacts import artifact_of
from defect_detection.tracking.reading import ModelRef
from defect_detection.tracking.registry import Registry

SETTINGS = "config.yaml"
_VERSION = re.compile(r"(?:models:/)?(?:(?P<name>.+)[/@])?(?P<version>[^/@]+)")
_SPLITS = ("train", "test")


def listed(splits: Splits, findings: Iterable[Finding], config: Config) -> Splits:
    """Return the splits with the manifest of their images."""
    known: dict[Path, set[str]] = defaultdict(set)
    for finding in findings:
        for path in (path for entry in finding.entries for path in entry.paths):
            known[path].add(finding.kind.name)
    validation = () if splits.is_cross_validated else splits.validation
    named = (("train", splits.train), ("validation", validation), ("test", splits.test))
    entries = [
        replace(
            _entry(one, split, config),
            source=_source(one, split, config),
            findings=tuple(sorted(known.get(one.path, ()))),
        )
        for split, samples in named
        for one in samples
    ]
    return replace(splits, manifest=Manifest.of(entries))


def _entry(sample: Sample, split: str, config: Config) -> ManifestEntry:
    return ManifestEntry(
        sample.sha256,
        from_root(sample.path, config.root).as_posix(),
        "defective" if sample.label == DEFECTIVE else "ok",
        sample.defect_types,
        sample.group,
        split,
    )


def _source(sample: Sample, split: str, config: Config) -> str:
    feedback = config.data.feedback_dir
    if split != "test" and feedback is not None and sample.path.is_relative_to(feedback):
        return "data.feedback_dir"
    return "data.test_dir" if split == "test" else "data.train_dir"


def manifest_of(reference: ModelRef, registry: Registry, config: Config) -> Manifest | None:
    """Return the manifest of a version; None if its training logged none.

    Raises:
        DataError: it is not the one that the version's card names. TrackingError: it cannot be fetched.
    """
    card = read_card(registry.bundle_of(reference, config.cache_dir))
    wanted = card.data.get("manifest")
    if not wanted:
        return None
    content = artifact_of(registry.tracking_uri, reference.run_id, NAME)
    if content is None:
        return None
    manifest = read_manifest(content, f"{reference}: {NAME}")
    if manifest.sha256 != wanted:
        raise DataError(
            f"{reference}: {NAME} of run {reference.run_id} has the SHA-256 {manifest.sha256}, but the model's card names "
            f"{wanted}; the file was changed: restore it from a backup"
        )
    return manifest


def diff(old: str, new: str, config: Config) -> ManifestDiff:
    """Compare the images of two sides: each a version, a manifest file, or a folder.

    Raises:
        DataError: a folder or a manifest cannot be read. NoModelError: no such version, or one without a manifest.
    """
    sides = [_side(name, config) for name in (old, new)]
    (before, _), (after, _) = sides
    return compare(before, after, with_validation=not any(is_folder for _, is_folder in sides))


def _side(name: str, config: Config) -> tuple[list[ManifestEntry], bool]:
    """Return the images of a side, and whether it is a folder."""
    path = Path(name)
    if name and path.is_dir():
        return _of_folder(path, config), True
    if path.is_file():
        return read_manifest(path.read_bytes(), path).entries(path), False
    reference = _version(name, config)
    manifest = manifest_of(reference, Registry(config.tracking_uri), config)
    if manifest is None:
        raise NoModelError(
            f"{reference}: its training logged no {NAME}, or the run was deleted; versions trained before manifests existed have "
            "none. Train again, or compare folders of images"
        )
    return manifest.entries(str(reference)), False


def _version(name: str, config: Config) -> ModelRef:
    found = _VERSION.fullmatch(name)
    assert found or not name
    model = (found and found["name"]) or config.mlflow.production_model_name
    which = found["version"] if found else ""
    registry = Registry(config.tracking_uri)
    number = re.fullmatch("[0-9]{1,9}", which)
    reference = registry.version(model, int(which)) if number else registry.version_of(model, which or "-")
    if reference is None:
        raise NoModelError(
            f"{name!r}: no such folder, file or model version; expected a folder of images, a {NAME}, a version such as 3 or "
            f"{model}/3, or an alias such as {model}@prod (`defect history` lists versions)"
        )
    return reference


def _of_folder(folder: Path, config: Config) -> list[ManifestEntry]:
    """Return the images of a project, of a folder with a folder for each split, or of one with a folder for each class."""
    if (folder / CARD_FILE).is_file():
        raise DataError(
            f"{folder}: is a model folder, which holds no images and no manifest; name the version, such as 3"
        )
    if (folder / SETTINGS).is_file():
        is_ours = folder.resolve() == config.root
        return _of_project(config if is_ours else load_config(folder / SETTINGS))
    splits = [name for name in _SPLITS if (folder / name).is_dir()]
    found = [
        _entry(sample, split, config)
        for split in splits or [""]
        for sample in _scanned(folder / split if split else folder, config)
    ]
    if not found:
        raise DataError(
            f"{folder}: expected images in one folder for each class, or in train and test with such folders, received none"
        )
    return found


def _of_project(config: Config) -> list[ManifestEntry]:
    train, test = scan_split(config, "train_dir").samples, scan_split(config, "test_dir").samples
    samples, _, _ = with_feedback(train, test, config)
    return [
        _entry(one, split, config) for split, side in (("train", samples), ("test", test)) for one in side
    ]


def _scanned(folder: Path, config: Config) -> Sequence[Sample]:
    data = config.data
    return scan_folder(folder.absolute(), data.ok_classes, data.group_pattern, data.defect_classes).samples
