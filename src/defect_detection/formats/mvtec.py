"""MVTec AD: ``train/good``, ``test/TYPE`` and ``ground_truth/TYPE/NAME_mask.png``."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from defect_detection.data.walk import walk
from defect_detection.errors import DataError
from defect_detection.formats.areas import MaskFile
from defect_detection.formats.files import put
from defect_detection.formats.items import TEST, TRAIN, Item, Lost, Mark, Outgoing

GOOD, MASKS = "good", "ground_truth"


def read(source: Path, lost: Lost) -> list[Item]:
    """Return the images of one category, such as ``bottle``. Splits stay as they are."""
    if not (source / TRAIN / GOOD).is_dir():
        inner = sorted(path.parents[1].name for path in source.glob(f"*/{TRAIN}/{GOOD}"))
        advice = f"; name one of its categories: {', '.join(inner[:8])}" if inner else ""
        raise DataError(
            f"{source}: expected the folder {TRAIN}/{GOOD} of MVTec's layout, received none{advice}"
        )
    masks = set(walk(source / MASKS).images) if (source / MASKS).is_dir() else set()
    items = [
        _item(path, split, source, masks)
        for split in (TRAIN, "validation", TEST)
        if (source / split).is_dir()
        for path in walk(source / split).images
    ]
    if masks:
        names = "\n  ".join(str(path.relative_to(source)) for path in sorted(masks)[:10])
        raise DataError(
            f"{source}: {len(masks)} masks without an image in {TEST}:\n  {names}\nCopy the images too, or remove these"
        )
    return items


def _item(path: Path, split: str, source: Path, masks: set[Path]) -> Item:
    where = path.relative_to(source).as_posix()
    folders = path.relative_to(source / split).parts[:-1]
    if len(folders) != 1:
        raise DataError(f"{where}: expected {split}/TYPE/IMAGE; move the image into the folder of its type")
    (label,) = folders
    beside = source / MASKS / label
    places = (
        [beside / f"{path.stem}{ending}.png" for ending in ("_mask", "")]
        if split == TEST and label != GOOD
        else []
    )
    mask = next((place for place in places if place in masks), None)
    if mask is None:
        return Item(where, path, split, None, (Mark(label, where),))
    masks.remove(mask)
    return Item(where, path, split, None, (Mark(label, mask.relative_to(source).as_posix(), MaskFile(mask)),))


def write(items: Sequence[Outgoing], folder: Path, lost: Lost) -> Sequence[Outgoing]:
    """Write the layout. It has OK images only for training, and one type for each image."""
    (folder / TRAIN / GOOD).mkdir(parents=True)
    written = []
    for one in items:
        if one.split == TRAIN and one.types:
            lost.add("defective images of train, which MVTec's layout does not have", one.name)
            continue
        if one.types[1:]:
            lost.add("further types of an image", one.name)
        label = one.types[0] if one.types else GOOD
        put(one.path, folder / one.split / label / one.name)
        written.append(one)
        if one.rings:
            mask = folder / MASKS / label / f"{Path(one.name).stem}_mask.png"
            mask.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(one.marked().astype(np.uint8) * 255).save(mask)
    return written
