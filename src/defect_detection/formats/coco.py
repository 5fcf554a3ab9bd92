"""COCO: ``annotations/*.json`` with images, annotations and categories; boxes, polygons and runs of pixels."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from defect_detection.errors import DataError
from defect_detection.formats.areas import Area, box
from defect_detection.formats.files import child, image_in, json_of, of_kind, put, size_of
from defect_detection.formats.geometry import four, polygon, runs
from defect_detection.formats.items import Item, Lost, Mark, Outgoing, type_names
from defect_detection.formats.splits import in_name

_OTHERS = (
    "captions",
    "image_info",
    "panoptic",
    "person_keypoints",
    "stuff",
    "labels",
)  # of the same images as `instances`


def read(source: Path, lost: Lost) -> list[Item]:
    """Return the images of a folder in COCO's layout, or of one JSON file."""
    root = (
        source
        if source.is_dir()
        else source.parent.parent
        if source.parent.name == "annotations"
        else source.parent
    )
    return [item for path in _files(source, lost) for item in _of_file(path, root, lost)]


def _files(source: Path, lost: Lost) -> list[Path]:
    if source.is_file():
        return [source]
    found: list[Path] = []
    for pattern in ("annotations/*.json", "*.json", "*/*.json"):
        found = found or sorted(source.glob(pattern))
    if not found:
        raise DataError(
            f"{source}: expected COCO's annotations/*.json, received no JSON file; name the folder that holds them"
        )
    if any(path.name.startswith("instances") for path in found):
        for path in [path for path in found if path.name.startswith(_OTHERS)]:
            lost.add("annotation files beside instances_*.json", path.name)
            found.remove(path)
    return found


def _of_file(path: Path, root: Path, lost: Lost) -> Iterator[Item]:
    content = of_kind(json_of(path), dict, str(path))
    name = path.name
    images = child(content, "images", list, name)
    labels = _categories(content, name)
    marks = _marks(content, name, labels, _ids(images, name), lost)
    split, folder = in_name(path.stem) or in_name(path.parent.name), path.stem.removeprefix("instances_")
    for place, image in enumerate(images):
        where = f"{name}: images[{place}]"
        file = child(image, "file_name", str, where)
        near = path.parent.relative_to(root) / file
        places = [Path("images", folder, file), Path("images", file), Path(folder, file), Path(file), near]
        found = image_in(root, places, f"{where}.file_name")
        size = size_of(image.get("width"), image.get("height"), where)
        yield Item(where, found, split, size, tuple(marks.pop(image["id"], ())))


def _ids(images: list[Any], name: str) -> set[Any]:
    known: dict[Any, int] = {}
    for place, image in enumerate(images):
        where = f"{name}: images[{place}]"
        own = child(of_kind(image, dict, where), "id", int, where)
        if own in known:
            raise DataError(
                f"{where}.id: {own} is the id of images[{known[own]}] too; expected one image for each id"
            )
        known[own] = place
    return set(known)


def _categories(content: dict[str, Any], name: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for place, one in enumerate(child(content, "categories", list, name)):
        where = f"{name}: categories[{place}]"
        own = child(of_kind(one, dict, where), "id", int, where)
        if own in found:
            raise DataError(
                f"{where}.id: {own} is the id of '{found[own]}' too; expected one category for each id"
            )
        found[own] = child(one, "name", str, where)
    return found


def _marks(
    content: dict[str, Any], name: str, labels: dict[int, str], images: set[Any], lost: Lost
) -> dict[int, list[Mark]]:
    marks: dict[int, list[Mark]] = defaultdict(list)
    for place, one in enumerate(child(content, "annotations", list, name)):
        where = f"{name}: annotations[{place}]"
        image = child(of_kind(one, dict, where), "image_id", int, where)
        if image not in images:
            raise DataError(
                f"{where}.image_id: no image has the id {image}; expected the id of one of the images"
            )
        category = child(one, "category_id", int, where)
        if category not in labels:
            raise DataError(
                f"{where}.category_id: no category has the id {category}; expected one of {_brief(labels)}"
            )
        for kind in ("keypoints", "attributes", "caption"):
            if one.get(kind):
                lost.add(kind, where)
        if one.get("iscrowd"):
            lost.add("crowd flags", where)
        marks[image] += [Mark(labels[category], where, area) for area in _areas(one, where)]
    return marks


def _brief(labels: dict[int, str]) -> str:
    return ", ".join(f"{own} ({label})" for own, label in list(labels.items())[:8]) or "none"


def _areas(one: dict[str, Any], where: str) -> list[Area]:
    drawn, corners = one.get("segmentation"), one.get("bbox")
    if isinstance(drawn, dict):
        return [runs(drawn, f"{where}.segmentation")]
    if drawn:
        return [
            polygon(ring, f"{where}.segmentation[{place}]")
            for place, ring in enumerate(of_kind(drawn, list, f"{where}.segmentation"))
        ]
    if corners is None:
        raise DataError(f"{where}: expected bbox or segmentation, received neither")
    return [box(*four(corners, f"{where}.bbox"))]


def write(items: Sequence[Outgoing], folder: Path, lost: Lost) -> Sequence[Outgoing]:
    """Write images and annotations, one JSON file for each split."""
    types = type_names(items)
    ids = {name: own for own, name in enumerate(types, 1)}
    categories = [{"id": own, "name": name, "supercategory": ""} for name, own in ids.items()]
    (folder / "annotations").mkdir()
    for split in sorted({one.split for one in items}):
        content: dict[str, list[Any]] = {"images": [], "annotations": [], "categories": categories}
        for own, one in enumerate((one for one in items if one.split == split), 1):
            put(one.path, folder / "images" / split / one.name)
            width, height = one.size
            content["images"].append({"id": own, "file_name": one.name, "width": width, "height": height})
            for name, ring in one.outlines():
                entry = {"id": len(content["annotations"]) + 1, "image_id": own, "category_id": ids[name]}
                content["annotations"].append(entry | _geometry(ring))
        path = folder / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps(content), encoding="utf-8")
    return items


def _geometry(ring: np.ndarray) -> dict[str, Any]:
    (left, top), (right, bottom) = ring.min(0).tolist(), ring.max(0).tolist()
    x, y = ring.T
    area = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    corners = [left, top, right - left, bottom - top]
    return {"bbox": corners, "area": area, "segmentation": [ring.ravel().tolist()], "iscrowd": 0}
