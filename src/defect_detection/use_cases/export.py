"""Export the model of a bundle to another form, only if it gives the same verdicts."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from defect_detection.config import Config
from defect_detection.data.samples import Sample, labels_of
from defect_detection.data.split import Splits, load_splits
from defect_detection.errors import BundleError, ConfigError
from defect_detection.files.permissions import regular
from defect_detection.files.unfinished import whole_folder
from defect_detection.model.bundle import (
    CARD_FILE,
    KERAS_FILE,
    OPENVINO_FILE,
    copy_files,
    read_card,
    verify,
    write_card,
)
from defect_detection.model.card import Card
from defect_detection.model.parity import FormParity, Scorer, allowed_difference, golden_parity
from defect_detection.model.seal import checksum
from defect_detection.use_cases.parity import litert_scorer, onnx_scorer, openvino_scorer

FORMATS = ("onnx", "litert", "openvino")
MANIFEST = "export.json"  # list of the written files: the next export may replace them
MOST_AUROC_LOST = 0.005  # on the validation images, by 8 bits
_CALIBRATION_IMAGES = 300


@dataclass(frozen=True)
class Loss:
    """The loss by 8 bits on the validation images: changed verdicts, and AUROC before and after."""

    images: int
    flips: int
    difference: float
    auroc_before: float
    auroc: float

    def __str__(self) -> str:
        return (
            f"validation: {self.flips} of {self.images} verdicts differ, scores by up to {self.difference:.2g}, "
            f"AUROC {self.auroc:.4f} instead of {self.auroc_before:.4f}"
        )


@dataclass(frozen=True)
class ExportedModel:
    """The result of an export. parity: on the golden images. loss: of an 8-bit form."""

    parity: FormParity
    loss: Loss | None = None


def export(form: str, bundle: Path, output: Path, config: Config, *, int8: bool = False) -> ExportedModel:
    """Write the folder `output` with the model in another format, its card, ``inspector.json``, and a list of its files.

    An earlier export is replaced. A folder with any other content is refused.

    Args:
        form: `onnx` (model.onnx), `litert` (model.tflite), or `openvino` (model.xml, model.bin).
        int8: with convolutions in 8 bits, whose ranges are measured on training images. For openvino this is a model folder
            like any other; for litert it isn't offered.

    Raises:
        ConfigError: unknown format, missing library, or other files in `output`.
        BundleError: the bundle is damaged, or the new form gives another verdict (in 8 bits: on the validation images too), or
            scores that differ too much. Nothing is written then.
    """
    _check_wanted(form, int8, bundle, output, config)
    card = read_card(bundle)
    verify(bundle, card)
    if int8 and card.tile_rule:
        raise ConfigError("--int8: expected a model without tiles (data.tiles); leave --int8 out")
    try:
        splits = _calibration(card, config) if int8 else None
        with whole_folder(output) as folder:
            exported = _write(form, bundle, folder, splits, config.seed)
            _write_manifest(folder, form, int8)
            return exported
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{form}: {error.name} is missing; install it with `pip install 'defect-detection[export]'`"
        ) from error


def _check_wanted(form: str, int8: bool, bundle: Path, output: Path, config: Config) -> None:
    if form not in FORMATS:
        raise ConfigError(f"--format: expected {', '.join(FORMATS)}, received {form}")
    if form == "litert" and int8:
        raise ConfigError("--int8: expected the format openvino or onnx, received litert; leave --int8 out")
    for own in (bundle, config.bundle_dir):
        if own.resolve().is_relative_to(output.resolve()):
            raise ConfigError(f"{output}: this is the folder of the model {own}; export into another folder")
    if kept := _not_of_an_export(output):
        raise ConfigError(
            f"{output}: expected a new or empty folder or an earlier export, received {kept}. Use another folder, or move "
            "the files away"
        )


def _not_of_an_export(output: Path) -> str:
    """Describe files in the folder that no earlier export wrote; "" if there are none."""
    if not output.exists():
        return ""
    if not output.is_dir():
        return "a file"
    there = {path.name for path in output.iterdir()}
    if not there:
        return ""
    try:
        written = json.loads(regular(output / MANIFEST).read_text(encoding="utf-8"))["files"]
        changed = [
            name for name in sorted(there - {MANIFEST}) if checksum(output / name) != written.get(name)
        ]
    except FileNotFoundError:
        return f"a folder without {MANIFEST}"
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        return f"a folder whose {MANIFEST} or another file cannot be read ({error})"
    return f"a folder with {changed[0]}, which is not an unchanged file of that export" if changed else ""


def _write_manifest(folder: Path, form: str, int8: bool) -> None:
    files = {path.name: checksum(path) for path in sorted(folder.iterdir())}
    manifest = {"format": form, "precision": "int8" if int8 else "f32", "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _write(form: str, bundle: Path, folder: Path, splits: Splits | None, seed: int) -> ExportedModel:
    card = read_card(bundle)
    if splits is None:
        score = _WRITERS[form](bundle, folder)
        found = _required(bundle, score, form, "f32")
        _write_card(folder, card)
        return ExportedModel(found)
    score = _INT8_WRITERS[form](bundle, folder, _ranges(splits, seed))
    found = _required(bundle, score, form, "int8")
    loss = _required_loss(card, bundle, score, splits)
    _write_card(folder, card.model_copy(update={"name": f"{card.name}-int8"}))
    return ExportedModel(found, loss)


def _write_card(folder: Path, card: Card) -> None:
    """Write the card of a complete model folder, or a card with the checksums of the existing files."""
    if (folder / KERAS_FILE).exists():
        write_card(folder, card)
    else:
        write_card(folder, card, sorted(path.name for path in folder.iterdir()))


def _required(bundle: Path, score: Scorer, form: str, precision: str) -> FormParity:
    found = golden_parity(bundle, score, form, precision)
    if not found.allowed:
        advice = "; leave --int8 out" if precision == "int8" else "; train again, or export another format"
        raise BundleError(f"Not exported: {found} ({allowed_difference(precision)}){advice}")
    return found


def _openvino(bundle: Path, folder: Path) -> Scorer:
    for name in (OPENVINO_FILE, "model.bin"):
        shutil.copyfile(bundle / name, folder / name)
    return openvino_scorer(folder / OPENVINO_FILE)


def _onnx(bundle: Path, folder: Path) -> Scorer:
    from defect_detection.model.forms import load_keras, to_onnx

    to_onnx(load_keras(bundle / KERAS_FILE), folder / "model.onnx")
    return onnx_scorer(folder / "model.onnx")


def _litert(bundle: Path, folder: Path) -> Scorer:
    from defect_detection.model.forms import load_keras, to_litert

    to_litert(load_keras(bundle / KERAS_FILE), folder / "model.tflite")
    return litert_scorer(folder / "model.tflite")


def _openvino_int8(bundle: Path, folder: Path, ranges: np.ndarray) -> Scorer:
    from defect_detection.model.forms import to_int8

    copy_files(bundle, folder)
    (folder / CARD_FILE).unlink()
    to_int8(bundle / OPENVINO_FILE, folder / OPENVINO_FILE, ranges)
    return openvino_scorer(folder / OPENVINO_FILE)


def _onnx_int8(bundle: Path, folder: Path, ranges: np.ndarray) -> Scorer:
    from defect_detection.model.forms import onnx_to_int8

    _onnx(bundle, folder)
    exact = (folder / "model.onnx").rename(folder / "exact.onnx")
    onnx_to_int8(exact, folder / "model.onnx", ranges)
    exact.unlink()
    return onnx_scorer(folder / "model.onnx")


_WRITERS: dict[str, Callable[[Path, Path], Scorer]] = {
    "onnx": _onnx,
    "litert": _litert,
    "openvino": _openvino,
}
_INT8_WRITERS: dict[str, Callable[[Path, Path, np.ndarray], Scorer]] = {
    "onnx": _onnx_int8,
    "openvino": _openvino_int8,
}


def _calibration(card: Card, config: Config) -> Splits:
    """Return the images to measure ranges and losses on.

    Raises:
        ConfigError: data.image_size or data.bit_depth isn't the model's.
    """
    for key in ("image_size", "bit_depth"):
        expected, received = getattr(card, key), getattr(config.data, key)
        if expected != received:
            raise ConfigError(
                f"data.{key}: expected the model's, {expected or 'null'}, received {received or 'null'}"
            )
    return load_splits(config, framing=card.frame)


def _ranges(splits: Splits, seed: int) -> np.ndarray:
    chosen = np.random.default_rng(seed).permutation(len(splits.train))[:_CALIBRATION_IMAGES]
    return splits.pixels.rows([splits.train[i].sha256 for i in chosen])


def _required_loss(card: Card, bundle: Path, score: Scorer, splits: Splits) -> Loss:
    """Compare an 8-bit form with f32 on the validation images.

    Raises:
        BundleError: no validation image is defective, or the 8-bit form is worse.
    """
    if len(set(labels_of(splits.validation))) < 2:
        raise BundleError(
            "Not exported: without defective validation images the loss of 8 bits cannot be measured; leave --int8 out"
        )
    exact = openvino_scorer(bundle / OPENVINO_FILE)
    before, after = (_scores(one, splits, splits.validation) for one in (exact, score))
    loss = _loss(card, before, after, labels_of(splits.validation))
    _require_no_loss(loss)
    return loss


def _require_no_loss(loss: Loss) -> None:
    """Refuse an 8-bit form that changes a verdict of the validation images, or ranks them worse by more than the margin.

    Raises:
        BundleError: it does.
    """
    if loss.flips or not loss.auroc >= loss.auroc_before - MOST_AUROC_LOST:  # NaN is refused as well
        raise BundleError(
            f"Not exported: in 8 bits, {loss} (allowed: the same verdicts, AUROC lower by at most {MOST_AUROC_LOST:g}); "
            "leave --int8 out"
        )


def _loss(card: Card, before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> Loss:
    from sklearn.metrics import roc_auc_score

    from defect_detection.model.parity import compare

    found = compare(card, before, after, "8 bits", "int8")
    auroc_before, auroc = (float(roc_auc_score(labels, scores)) for scores in (before, after))
    return Loss(found.images, found.flips, found.difference, auroc_before, auroc)


def _scores(score: Scorer, splits: Splits, samples: Sequence[Sample]) -> np.ndarray:
    chunks = (samples[start : start + 64] for start in range(0, len(samples), 64))
    return np.concatenate(
        [score(splits.pixels.rows([one.sha256 for one in chunk]))["score"] for chunk in chunks]
    )
