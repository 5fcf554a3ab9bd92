"""Datumaro: ``annotations/SPLIT.json`` and ``images/SPLIT``; labels, boxes, polygons and masks."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from defect_detection.errors import DataError
from defect_detection.formats.areas import Area, box
from defect_detection.formats.files import child, image_in, json_of, numbers, of_kind, put
from defect_detection.formats.geometry import four, polygon, runs
from defect_detection.formats.items import OK_LABEL, Item, Lost, Mark, Outgoing, type_names
from defect_detection.formats.splits import in_name

_ENDINGS = ("", ".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def read(source: Path, lost: Lost) -> list[Item]:
    """Return the images of a folder in Datumaro's layout, or of one JSON file."""
    files = [source] if source.is_file() else sorted((source / "annotations").glob("*.json"))
    if not files:
        raise DataError(
            f"{source}: expected Datumaro's annotations/*.json, received none; name the folder that holds it"
        )
    root = source.parent.parent if source.is_file() else source
    return [item for path in files for item in _of_file(path, root, lost)]


def _of_file(path: Path, root: Path, lost: Lost) -> Iterator[Item]:
    content = of_kind(json_of(path), dict, str(path))
    labels = _labels(content, path.name)
    for place, one in enumerate(child(content, "items", list, path.name)):
        where = f"{path.name}: items[{place}]"
        own = child(of_kind(one, dict, where), "id", str, where)
        media = one.get("image") or one.get("media") or {}
        file = str(media.get("path") or "") if isinstance(media, dict) else ""
        names = [Path("images", path.stem, name) for name in (file, *(own + end for end in _ENDINGS)) if name]
        names += [Path("images", name) for name in (file, *(own + end for end in _ENDINGS)) if name]
        image = image_in(root, [*names, *([file] if file else [])], f"{where}.image.path")
        size = media.get("size") if isinstance(media, dict) else None
        sides = numbers(of_kind(size, list, f"{where}.image.size"), f"{where}.image.size") if size else []
        marks = tuple(_marks(child(one, "annotations", list, where), where, labels, lost))
        stated = (int(sides[1]), int(sides[0])) if len(sides) == 2 else None
        yield Item(where, image, in_name(path.stem), stated, marks)


def _labels(content: dict[str, Any], name: str) -> list[str]:
    categories = child(content, "categories", dict, name)
    listed = child(
        child(categories, "label", dict, f"{name}: categories"), "labels", list, f"{name}: categories.label"
    )
    where = f"{name}: categories.label.labels"
    return [
        child(of_kind(one, dict, f"{where}[{i}]"), "name", str, f"{where}[{i}]")
        for i, one in enumerate(listed)
    ]


def _marks(annotations: list[Any], item: str, labels: list[str], lost: Lost) -> Iterator[Mark]:
    for place, one in enumerate(annotations):
        where = f"{item}.annotations[{place}]"
        kind = child(of_kind(one, dict, where), "type", str, where)
        if one.get("attributes"):
            lost.add("attributes", where)
        if kind not in ("label", "bbox", "polygon", "mask"):
            if one.get("label_id") is None:
                lost.add(f"annotations of the type {kind}", where)
                continue
            lost.add(f"places of annotations of the type {kind}", where)
        number = child(one, "label_id", int, where)
        if not 0 <= number < len(labels):
            raise DataError(
                f"{where}.label_id: unknown category {number!r}, expected a number below {len(labels)}"
            )
        yield Mark(labels[number], where, _area(kind, one, where))


def _area(kind: str, one: dict[str, Any], where: str) -> Area | None:
    if kind == "bbox":
        return box(*four(one.get("bbox"), f"{where}.bbox"))
    if kind == "polygon":
        return polygon(one.get("points"), f"{where}.points")
    return runs(child(one, "rle", dict, where), f"{where}.rle") if kind == "mask" else None


def write(items: Sequence[Outgoing], folder: Path, lost: Lost) -> Sequence[Outgoing]:
    """Write images and annotations. An OK image has the label ``ok``."""
    names = [OK_LABEL, *type_names(items)]
    labels = [{"name": name, "parent": "", "attributes": []} for name in names]
    head: dict[str, Any] = {"dm_format_version": "1.0", "media_type": 2, "infos": {}}
    head["categories"] = {"label": {"label_groups": [], "labels": labels, "attributes": []}}
    (folder / "annotations").mkdir()
    for split in sorted({one.split for one in items}):
        written = []
        for one in (one for one in items if one.split == split):
            put(one.path, folder / "images" / split / one.name)
            width, height = one.size
            written.append(
                {
                    "id": Path(one.name).stem,
                    "annotations": _annotations(one, names),
                    "attr": {},
                    "image": {"path": one.name, "size": [height, width]},
                }
            )
        path = folder / "annotations" / f"{split}.json"
        path.write_text(json.dumps(head | {"items": written}), encoding="utf-8")
    return items


def _annotations(one: Outgoing, names: list[str]) -> list[dict[str, Any]]:
    """Return labels for the whole image, and a polygon for each area."""
    found: list[dict[str, Any]] = [{"type": "label", "label_id": names.index(name)} for name in one.labels()]
    found += [
        {
            "type": "polygon",
            "label_id": names.index(one.types[0]),
            "points": ring.ravel().tolist(),
            "z_order": 0,
        }
        for ring in one.rings
    ]
    return [{"id": number, "attributes": {}, "group": 0, **entry} for number, entry in enumerate(found)]
