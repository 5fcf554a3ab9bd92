"""The bundle: a folder with everything that inspection needs. It is saved, registered and deployed as a whole.

best_cnn_model.keras   the Keras model
model.xml, model.bin   the same for OpenVINO: what inspects
inspector.json         the card: classes, input size, operating point, origin, checksums
golden.npz             a few validation images (uint8) with their Keras scores, and the probabilities of types: every runtime
                       must give the same
trained_on.npy         uint64, the first 8 bytes of the sha256 of every training image, those of its trunk included: whoever tests
                       the model on one of them is warned
trunk_trained_on.npy   the same for the images that the trunk was fine-tuned on, by this training or one that it started from
held_out_scores.npz    P(defective) of the images that judged the model, each from a fit that didn't learn from it: for the data audit
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from pydantic import ValidationError

from defect_detection.errors import BundleError
from defect_detection.files.permissions import regular
from defect_detection.model.card import Card
from defect_detection.model.seal import card_checksum, checksum, finite_json

KERAS_FILE = "best_cnn_model.keras"
OPENVINO_FILE = "model.xml"
CARD_FILE = "inspector.json"
GOLDEN_FILE = "golden.npz"
TRAINED_ON_FILE = "trained_on.npy"
TRUNK_TRAINED_ON_FILE = "trunk_trained_on.npy"
HELD_OUT_FILE = "held_out_scores.npz"
_CHECKED = (KERAS_FILE, OPENVINO_FILE, "model.bin", GOLDEN_FILE, TRAINED_ON_FILE)


def copy_files(source: Path, folder: Path) -> Path:
    """Copy the files of a model folder with the usual permissions, also from a read-only project."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        shutil.copyfile(path, folder / path.name)
    return folder


def write_card(folder: Path, card: Card, names: Iterable[str] = _CHECKED) -> None:
    """Write the card last, with the verdicts on the golden images and the checksums of the other files.

    Args:
        names: of the files beside it.
    """
    update: dict[str, Any] = {"checksums": {name: checksum(folder / name) for name in names}}
    if GOLDEN_FILE in update["checksums"]:
        update["golden_verdicts"] = card.verdicts(read_golden(folder)[1])
    values = json.loads(card.model_copy(update=update).model_dump_json())
    values["checksums"][CARD_FILE] = card_checksum(values)
    (folder / CARD_FILE).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def identity(card: Card) -> str:
    """Return an identifier of the model's decisions: equal for equal weights and threshold."""
    files = [card.checksums.get(name, "") for name in (OPENVINO_FILE, "model.bin")]
    return hashlib.sha256(" ".join([*files, repr(card.threshold)]).encode()).hexdigest()[:32]


def read_card(folder: Path) -> Card:
    """Read a bundle's card and check that its files are there.

    Raises:
        BundleError: no folder, no card, a card of another version or edited by hand, or a file is missing.
    """
    path = folder / CARD_FILE
    try:
        text = regular(path).read_text(encoding="utf-8")
        _require_unedited(path, finite_json(text))
        card = Card.model_validate_json(text)
    except OSError as error:
        raise BundleError(
            f"{folder}: expected a model folder that contains {CARD_FILE}; name another folder, or train a model (`defect "
            "train`, with `--product NAME` for a product)"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "operating point"
        received = repr(first["input"])[:40] if first["loc"] else ""
        raise BundleError(
            f"{path}: {key}: {first['msg']}{received and f', received {received}'}; the file is damaged or of another "
            "version: copy the whole folder again, or train again"
        ) from error
    except ValueError as error:
        raise BundleError(
            f"{path}: the card cannot be read ({error}); the file is damaged: copy the whole folder again, or train again"
        ) from error
    if missing := [name for name in _CHECKED if not (folder / name).is_file()]:
        raise BundleError(f"{folder}: {', '.join(missing)} missing; copy the whole folder again")
    return card


def _require_unedited(path: Path, values: Any) -> None:
    """Compare the card with its own checksum; one of an earlier version has none."""
    checksums = values.get("checksums") if isinstance(values, dict) else None
    if not isinstance(checksums, dict) or CARD_FILE not in checksums:
        return
    if checksums.pop(CARD_FILE) != card_checksum(values):
        raise BundleError(
            f"{path}: the card was edited (it does not match its own checksum). Copy the whole folder again, or train "
            "again; to change the threshold, train again"
        )


def verify(folder: Path, card: Card, names: Iterable[str] = _CHECKED) -> None:
    """Compare files with the card's checksums.

    Raises:
        BundleError: a file was changed or damaged.
    """
    for name in names:
        if checksum(folder / name) != card.checksums.get(name):
            raise BundleError(
                f"{folder / name}: does not match its checksum in {CARD_FILE}; copy the whole folder again"
            )


def write_golden(
    folder: Path, images: np.ndarray, scores: np.ndarray, types: np.ndarray | None = None
) -> None:
    """Write golden images with their Keras scores and, of a model that names types of defects, their probabilities (n, K)."""
    arrays: dict[str, Any] = {"images": images, "scores": scores}
    arrays |= {} if types is None else {"types": types}
    np.savez_compressed(folder / GOLDEN_FILE, **arrays)


def read_golden(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return golden images, uint8 (n, H, W, 3), and their Keras scores, float32 (n,)."""
    with np.load(folder / GOLDEN_FILE, allow_pickle=False) as file:
        return file["images"], file["scores"]


def read_golden_types(folder: Path) -> np.ndarray | None:
    """Return the probabilities of types that Keras gave to the golden images, float32 (n, K); None of a model that names none."""
    with np.load(folder / GOLDEN_FILE, allow_pickle=False) as file:
        return file.get("types")


def short_hashes(sha256s: Iterable[str]) -> np.ndarray:
    """Return the first 8 bytes of each hash, sorted, as uint64."""
    return np.sort(_numbers(sha256s))


def are_known(sha256s: Iterable[str], known: np.ndarray) -> np.ndarray:
    """Mark the images with one of the short hashes, bool array of shape (n_images,)."""
    return np.isin(_numbers(sha256s), known)


def _numbers(sha256s: Iterable[str]) -> np.ndarray:
    return np.array([int(sha256[:16], 16) for sha256 in sha256s], np.uint64)


def write_trained_on(folder: Path, sha256s: Iterable[str], by_trunk: np.ndarray | None = None) -> None:
    """Write what the model was trained on.

    Args:
        by_trunk: short hashes of the images that its trunk was fine-tuned on; None: none.
    """
    by_trunk = np.empty(0, np.uint64) if by_trunk is None else by_trunk
    np.save(folder / TRAINED_ON_FILE, np.union1d(short_hashes(sha256s), by_trunk), allow_pickle=False)
    np.save(folder / TRUNK_TRAINED_ON_FILE, by_trunk, allow_pickle=False)


def seen_in_training(folder: Path, sha256s: Iterable[str]) -> list[str]:
    """Return those images that the bundle's model was trained on."""
    images = list(sha256s)
    seen = are_known(images, np.load(folder / TRAINED_ON_FILE, allow_pickle=False))
    return [sha256 for sha256, known in zip(images, seen, strict=True) if known]


def read_trunk_trained_on(folder: Path) -> np.ndarray | None:
    """Return the short hashes of the images that the bundle's trunk was fine-tuned on; None for bundles of versions without them."""
    path = folder / TRUNK_TRAINED_ON_FILE
    return np.load(path, allow_pickle=False) if path.is_file() else None


def write_held_out(folder: Path, scores: Mapping[str, float]) -> None:
    """Write the scores of images, by their hash, from fits that didn't learn from them."""
    values = np.array(list(scores.values()), np.float32)
    np.savez_compressed(folder / HELD_OUT_FILE, sha256s=np.array(list(scores)), scores=values)


def read_held_out(folder: Path) -> dict[str, float]:
    """Return the content written by `write_held_out`; empty without a model, or for a model of an earlier version."""
    try:
        with np.load(regular(folder / HELD_OUT_FILE), allow_pickle=False) as file:
            return dict(zip(file["sha256s"].tolist(), file["scores"].tolist(), strict=True))
    except (OSError, ValueError, KeyError, BadZipFile):
        return {}
