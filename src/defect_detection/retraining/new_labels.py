"""Export feedback into the training data, and decide whether there are enough new labels to retrain."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from defect_detection.config import Config, RetrainConfig
from defect_detection.data.samples import scan_folder
from defect_detection.errors import ConfigError, RecordsError
from defect_detection.model.bundle import read_card, seen_in_training
from defect_detection.processes.messages import Message, Say
from defect_detection.records.labelled_images import ExportedLabels, LabelledImage, export_feedback
from defect_detection.records.record_store import Records
from defect_detection.tracking.registry import Registry
from defect_detection.use_cases.turn import PRODUCTION_ALIAS


def too_few_labels(settings: RetrainConfig, config: Config, registry: Registry, say: Say) -> str | None:
    """Export feedback to ``data.feedback_dir``, and return why there are not enough labels to retrain; None: there are enough.

    Raises:
        ConfigError: ``min_new_labels`` is set, and ``data.feedback_dir`` isn't.
        RecordsError: the database of inspections can't be reached.
    """
    folder = config.data.feedback_dir
    if folder is None:
        if settings.min_new_labels:
            raise ConfigError(
                f"re_train.yaml: min_new_labels: {settings.min_new_labels} new labels are required, but config.yaml: "
                "data.feedback_dir is null; set a folder, such as data/feedback"
            )
        return None
    exported = export(config, folder)
    new = count_new(exported.usable, config, registry)
    taken = len(exported.usable)
    for text in (
        f"{taken} labels taken ({new} new), in {folder}" if taken else "no labels yet",
        *_such_as(exported.skipped, "labelled images are left out"),
        *_such_as(exported.repaired, "invalid names of earlier records were corrected"),
    ):
        say(Message(f"Feedback: {text}", "data"))
    if new >= settings.min_new_labels:
        return None
    return f"not enough new labels: {new} of {settings.min_new_labels} (re_train.yaml: min_new_labels)"


def _such_as(found: Sequence[str], what: str) -> list[str]:
    return [f"{len(found)} {what}, such as {found[0]}"] if found else []


def export(config: Config, folder: Path) -> ExportedLabels:
    """Export feedback to a folder, without images of the test split.

    Raises:
        ConfigError: the folder lies among images of another purpose.
        DataError: the test split can't be scanned. RecordsError: the database can't be reached, or the folder written.
    """
    data = config.data
    _check_place(config, folder)
    test = scan_folder(data.test_dir, data.ok_classes, data.group_pattern, data.defect_classes).samples
    records = Records.of(config)
    try:
        return export_feedback(
            records.database, records.images, folder, data.ok_classes, test, config.product
        )
    except OSError as error:
        raise RecordsError(f"{folder}: feedback cannot be exported: {error.strerror or error}") from error
    finally:
        records.close()


def _check_place(config: Config, folder: Path) -> None:
    """Refuse a folder inside another data folder, where it would be read as another class."""
    for key in ("train_dir", "test_dir", "challenge_dir"):
        other = getattr(config.data, key)
        if folder.resolve().is_relative_to(other.resolve()):
            raise ConfigError(
                f"config.yaml: data.feedback_dir: expected a folder outside data.{key} ({other}), received {folder}; "
                "otherwise the labelled images would be read there as images of another class"
            )


def count_new(labelled: tuple[LabelledImage, ...], config: Config, registry: Registry) -> int:
    """Count the images that were labelled since the model in production was made.

    All labels count if there is no model, or if it was trained without feedback.
    """
    champion = registry.version_of(config.mlflow.production_model_name, PRODUCTION_ALIAS)
    if champion is None:
        return len(labelled)
    bundle = registry.bundle_of(champion, config.cache_dir)
    if not seen_in_training(bundle, (one.sha256 for one in labelled)):
        return len(labelled)
    made = datetime.fromisoformat(read_card(bundle).created)
    return sum(one.at > made for one in labelled)
