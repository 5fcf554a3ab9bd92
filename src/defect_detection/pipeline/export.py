"""Export a bundle to other forms, each compared with what it was made from."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from defect_detection.config import Config
from defect_detection.data.split import load_splits
from defect_detection.errors import BundleError, ConfigError
from defect_detection.inference.inspect import Inspector
from defect_detection.model.bundle import (
    CARD_FILE,
    KERAS_FILE,
    OPENVINO_FILE,
    Card,
    new_folder,
    read_card,
    read_golden,
    verify,
    write_card,
)

MOST_DIFFERENCE = 1e-3  # between scores of two forms of the same precision
_CALIBRATION_IMAGES = 300


@dataclass(frozen=True)
class Comparison:
    """An exported form beside the one it was made from, on the same images.

    flips: images whose verdict differs. difference: the largest between two scores. auroc_before, auroc: None where the images
    have no labels.
    """

    images: int
    flips: int
    difference: float
    auroc_before: float | None = None
    auroc: float | None = None


def compare(
    card: Card, before: np.ndarray, after: np.ndarray, labels: np.ndarray | None = None
) -> Comparison:
    """Compare the scores (n_images,) of two forms of a model."""
    flips = sum(card.verdict(float(a)) != card.verdict(float(b)) for a, b in zip(before, after, strict=True))
    difference = float(np.abs(before - after).max())
    if labels is None:
        return Comparison(len(before), flips, difference)
    from sklearn.metrics import roc_auc_score

    before_and_after = (float(roc_auc_score(labels, scores)) for scores in (before, after))
    return Comparison(len(before), flips, difference, *before_and_after)


def export(form: str, bundle: Path, output: Path, config: Config) -> Comparison:
    """Export a bundle as `onnx` or `int8`.

    Raises:
        ConfigError: another form, or the extra `export` isn't installed.
    """
    if form not in ("onnx", "int8"):
        raise ConfigError(f"{form}: expected onnx or int8")
    try:
        return export_onnx(bundle, output) if form == "onnx" else export_int8(bundle, output, config)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{form}: {error.name} is missing; install it with `pip install 'defect-detection[export]'`"
        ) from error


def export_onnx(bundle: Path, output: Path) -> Comparison:
    """Write a bundle's model as one ONNX file, and compare ONNX Runtime with Keras on the golden images.

    Raises:
        BundleError: the bundle is damaged, or the exported model gives another verdict or score; nothing is written then.
    """
    from defect_detection.model.export import load_keras, onnx_scores, to_onnx

    card = read_card(bundle)
    verify(bundle, card)
    images, scores = read_golden(bundle)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".partial-{output.name}")
    try:
        to_onnx(load_keras(bundle / KERAS_FILE), partial)
        found = compare(card, scores, onnx_scores(partial, images))
        if found.flips or found.difference > MOST_DIFFERENCE:
            raise BundleError(f"{output}: not written, ONNX Runtime differs from Keras: {found}")
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
    return found


def export_int8(bundle: Path, output: Path, config: Config) -> Comparison:
    """Write a copy of a bundle whose OpenVINO model has 8-bit convolutions, and compare both on the validation images.

    The ranges of values are measured on training images.

    Raises:
        BundleError: the bundle is damaged, or the 8-bit form flips a golden verdict; nothing is written then.
        ConfigError: data.image_size isn't the model's.
    """
    from defect_detection.model.export import to_int8

    card = read_card(bundle)
    verify(bundle, card)
    if config.data.image_size != card.image_size:
        raise ConfigError(
            f"data.image_size: expected the model's, {card.image_size}, received {config.data.image_size}"
        )
    splits = load_splits(config)
    train = splits.pixels.rows([sample.sha256 for sample in splits.train])
    chosen = np.random.default_rng(config.seed).permutation(len(train))[:_CALIBRATION_IMAGES]
    with new_folder(output) as partial:
        shutil.copytree(bundle, partial, dirs_exist_ok=True)
        (partial / CARD_FILE).unlink()
        to_int8(bundle / OPENVINO_FILE, partial / OPENVINO_FILE, train[chosen])
        write_card(partial, card.model_copy(update={"name": f"{card.name}-int8"}))
        before, after = Inspector.load(bundle), Inspector.load(partial)
        _check_golden(after, read_golden(bundle), output)
        images = splits.pixels.rows([sample.sha256 for sample in splits.validation])
        labels = np.array([sample.label for sample in splits.validation])
        return compare(card, before.score(images)["score"], after.score(images)["score"], labels)


def _check_golden(inspector: Inspector, golden: tuple[np.ndarray, np.ndarray], output: Path) -> None:
    images, scores = golden
    found = compare(inspector.card, scores, inspector.score(images)["score"])
    if found.flips:
        raise BundleError(
            f"{output}: not written, in 8 bits {found.flips} of {found.images} golden verdicts differ, by up to "
            f"{found.difference:.2g}; stay with f32, or try inference.precision=bf16"
        )
